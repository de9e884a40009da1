"use strict";
(() => {
  const jobs = JSON.parse(document.getElementById("job-data").textContent);

  const element = (tag, text, parent) => {
    const made = document.createElement(tag);
    made.textContent = text; // what a model or a user wrote is text, never markup
    parent.append(made);
    return made;
  };

  // A hover text as the lines it was made from: see `plain` in mva/report/interactive.py.
  const lines = (text) => text.split("<br>").map((line) => line.replaceAll("&lt;", "<").replaceAll("&amp;", "&"));

  const choose = (trace, index) => {
    const id = trace.ids[index].split(" ")[0];
    const job = jobs[trace.customdata[index]];
    const place = document.getElementById("chosen");
    place.replaceChildren();
    const said = trace.hovertext || trace.text;
    if (said) lines(said[index]).forEach((line, i) => element(i ? "p" : "h3", line, place));
    element("pre", job.command.replace("candidate=ID", `candidate=${id}`), place);
    element("a", "Its responses beside the base's", place).href = `${job.page}#${id}`;
  };

  document.querySelectorAll(".js-plotly-plot").forEach((figure) =>
    figure.on("plotly_click", (event) => {
      const { curveNumber, pointNumber } = event.points[0];
      const trace = figure.data[curveNumber];
      if (trace.ids) choose(trace, pointNumber);
    }));
})();
