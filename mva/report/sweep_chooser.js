"use strict";
(() => {
  const jobs = JSON.parse(document.getElementById("job-data").textContent);

  // A hover text as the lines it was made from: see `plain` in mva/report/interactive.py.
  const lines = (text) => text.split("<br>").map((line) => line.replaceAll("&lt;", "<").replaceAll("&amp;", "&"));

  const choose = (trace, index) => {
    const id = candidateOf(trace, index);
    const job = jobs[trace.customdata[index]];
    const place = document.getElementById("chosen");
    place.replaceChildren();
    const said = trace.hovertext || trace.text;
    if (said) lines(said[index]).forEach((line, i) => element(i ? "p" : "h3", line, place));
    const word = Object.hasOwn(job.words, id) ? job.words[id] : `candidate=${id}`;
    element("pre", [job.command[0], word, job.command[1]].filter(Boolean).join(" "), place);
    element("a", "Its responses beside the base's", place).href = `${job.page}#${anchor(id)}`;
  };

  // The candidates of the jobs shown, as the figure has them.
  const points = (figure) => figure.data.filter((trace) => trace.ids && !trace.meta && trace.visible !== false).flatMap((trace) => {
    const axes = trace.dimensions ? trace.dimensions.map((one) => one.values) : [trace.x, trace.y, trace.z].filter(Boolean);
    return trace.ids.map((_, index) => ({ trace, index, scores: axes.map((values) => values[index]) }));
  });

  document.querySelectorAll(".preferences").forEach((row) => {
    const sliders = [...row.querySelectorAll("input")];
    const figure = [...document.querySelectorAll(`.js-plotly-plot[id^="${row.dataset.figures}"]`)].pop();
    const best = preferences(sliders, points(figure), (point) => point.scores);
    sliders.forEach((slider) => slider.addEventListener("input", () => {
      const shown = points(figure);
      if (!shown.length) return;
      const { trace, index } = best(shown);
      choose(trace, index);
      if (trace.type === "scatter" || trace.type === "scattergl") Plotly.Fx.hover(figure, [{ curveNumber: figure.data.indexOf(trace), pointNumber: index }]);
    }));
  });

  onCandidate(choose);
})();
