"use strict";
(() => {
  const data = JSON.parse(document.getElementById("chooser-data").textContent);
  const byId = new Map(data.candidates.map((candidate) => [candidate.id, candidate]));
  const plot = document.querySelector(".js-plotly-plot");
  const sliders = [...document.querySelectorAll("#preferences input")];
  const show = (number) => number.toFixed(2);

  const answer = (parent, title, line) => {
    const box = element("div", "", parent);
    box.className = "answer";
    element("b", title, box);
    if (!line) { element("small", "no response to this prompt", box); return; }
    element("small", data.values.map((value) => `${value} ${show(line.rewards[value])}`).join("  "), box);
    element("span", line.text, box);
  };

  const choose = (id) => {
    const candidate = byId.get(id);
    if (!candidate) return;
    const place = document.getElementById("chosen");
    place.replaceChildren();
    element("h3", `${candidate.label} (${candidate.id})${candidate.on_front ? ", on the front" : ""}`, place);
    const held = candidate.held_out;
    element("p", data.values.map((value) =>
      [`${value} ${show(candidate.scores[value])}`,
        value in candidate.surface ? `, off the surface ${show(candidate.surface[value])}` : "",
        held ? ` (held out ${show(held[value])})` : ""].join("")).join("; "), place);
    element("pre", candidate.command, place);
    for (const entry of data.prompts) {
      element("h4", entry.prompt, place);
      const both = element("div", "", place);
      both.className = "answers";
      if (data.base && data.base !== id) answer(both, "base", entry.responses[data.base]);
      answer(both, candidate.label, entry.responses[id]);
    }
    mark(candidate);
  };

  const mark = (candidate) => {
    if (!plot || data.values.length !== 2) return;
    const [x, y] = data.values.map((value) => candidate.scores[value]);
    const index = plot.data.findIndex((trace) => trace.name === "chosen");
    if (index >= 0) { Plotly.restyle(plot, { x: [[x]], y: [[y]] }, [index]); return; }
    Plotly.addTraces(plot, { x: [x], y: [y], mode: "markers", name: "chosen", hoverinfo: "skip",
      marker: { symbol: "circle-open", size: 20, color: "{{ style.PURPLE }}", line: { width: 3 } } });
  };

  const best = preferences(sliders, data.candidates, (candidate) => data.values.map((value) => candidate.choosing[value]));
  const prefer = () => choose(best(data.candidates).id);

  sliders.forEach((slider) => slider.addEventListener("input", prefer));
  document.querySelectorAll("button[data-candidate]").forEach((button) =>
    button.addEventListener("click", () => choose(button.dataset.candidate)));
  onCandidate((trace, index) => choose(candidateOf(trace, index)));
  window.addEventListener("load", () => {
    const named = data.candidates.find(({ id }) => anchor(id) === location.hash.slice(1)); // a sweep's page links to it
    prefer();
    if (!named) return;
    choose(named.id);
    document.getElementById("chosen").scrollIntoView();
  });
})();
