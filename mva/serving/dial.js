"use strict";
(() => {
  const { sliders, front, colours } = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const inputs = [...document.querySelectorAll("#sliders input")];
  const show = (number) => String(Math.round(number * 1000) / 1000);
  // The dial itself: a candidate's coefficients are finer than a slider's steps.
  const dial = Object.fromEntries(sliders.map(({ name, start }) => [name, start]));
  const label = () => sliders.map(({ name }) => `${name} ${show(dial[name])}`).join(", ");

  // --- answers: what a model wrote is text, never markup
  const write = (id, text, speaking) => {
    at(id).querySelector("div").textContent = text;
    at(id).classList.toggle("speaking", speaking);
  };
  let asking = null, pause = 0;

  const listen = async (response, started) => {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", last = null;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return last;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) last = JSON.parse(line);
      if (!last) continue;
      write("base", last.base, !last.finished[0]);
      write("candidate", last.candidate, !last.finished[1]);
      at("status").textContent = `${last.tokens} tokens, ${((performance.now() - started) / 1000).toFixed(1)} s`;
    }
  };

  const ask = async () => {
    clearTimeout(pause);
    asking?.abort();
    const mine = (asking = new AbortController());
    const words = label();
    at("error").textContent = "";
    at("status").textContent = "Waiting for the first token.";
    at("candidate").querySelector("small").textContent = words;
    write("base", "", false);
    write("candidate", "", false);
    at("stop").disabled = false;
    try {
      const response = await fetch("api/answer", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ prompt: at("prompt").value, coefficients: dial }),
        signal: mine.signal,
      });
      if (!response.ok) throw new Error((await response.json()).error);
      const last = await listen(response, performance.now());
      if (!last || !last.finished.every(Boolean)) throw new Error("The server broke off before the answer's end.");
      if (last.error) throw new Error(last.error);
      at("status").textContent += ": done.";
    } catch (error) {
      if (mine !== asking) return; // a newer question took this one's place
      const stopped = error.name === "AbortError";
      at("status").textContent = stopped ? "Stopped." : "No answer.";
      if (!stopped) at("error").textContent = error instanceof TypeError ? "The server can't be reached: is mva-serve still running?" : error.message;
    }
    if (mine !== asking) return;
    for (const id of ["base", "candidate"]) at(id).classList.remove("speaking");
    at("stop").disabled = true;
  };

  at("form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  at("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
  });
  at("stop").addEventListener("click", () => asking?.abort());

  const askAgain = () => {
    clearTimeout(pause);
    if (asking && at("follow").checked && at("prompt").value.trim()) pause = setTimeout(ask, 250);
  };

  // --- the front, and the scored candidate that is nearest to the dial (in shares of each slider's range)
  const figure = at("figure");
  const axes = () => (front.values.length > 2 ? [at("axis-x").value, at("axis-y").value] : [front.values[0], front.values[1]]);
  const place = (group) => {
    const [x, y] = axes();
    return { x: group.map((c) => c.scores[x]), y: group.map((c) => (y ? c.scores[y] : 0)) };
  };
  const distance = (c) => Math.hypot(...sliders.map(({ name, low, high }) => (dial[name] - c.coefficients[name]) / (high - low)));
  const nearest = () => front.candidates.reduce((best, c) => (distance(c) < distance(best) ? c : best));

  const draw = () => {
    if (!figure) return;
    const [x, y] = axes();
    const grid = { gridcolor: "rgba(128,128,128,.25)", zerolinecolor: "rgba(128,128,128,.4)" };
    const trace = (name, group, color, symbol, size) => ({
      ...place(group), name, mode: "markers", marker: { color, symbol, size }, customdata: group.map((c) => c.id),
      // Plotly reads a little HTML in hover texts.
      hovertext: group.map((c) => `${c.label} (${c.id})`.replaceAll("&", "&amp;").replaceAll("<", "&lt;")), hoverinfo: "text",
    });
    const plain = front.candidates.filter((c) => !c.on_front && c.kind !== "base");
    const traces = [
      trace("candidates", plain, colours.candidates, "circle", 8),
      trace("front", front.candidates.filter((c) => c.on_front), colours.front, "circle", 11),
      trace("base", front.candidates.filter((c) => c.kind === "base"), colours.base, "square", 11),
      { ...place([nearest()]), name: "nearest to the dial", mode: "markers", hoverinfo: "skip",
        marker: { symbol: "circle-open", size: 22, color: colours.ring, line: { width: 3 } } },
    ];
    Plotly.react(figure, traces, {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colours.letters }, hovermode: "closest",
      margin: { l: 55, r: 10, t: 10, b: 45 }, legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, dragmode: false,
      xaxis: { ...grid, title: { text: `${x} score` } }, yaxis: { ...grid, title: { text: y ? `${y} score` : "" }, showticklabels: Boolean(y) },
    }, { responsive: true, displayModeBar: false, showTips: false });
  };

  const point = () => {
    inputs.forEach((input) => { input.nextElementSibling.textContent = show(dial[input.dataset.name]); });
    if (!figure) return;
    const c = nearest(), exact = distance(c) < 1e-9;
    const scores = front.values.map((v) => `${v} ${c.scores[v].toFixed(2)} ± ${(1.96 * c.errors[v]).toFixed(2)}`).join(", ");
    at("nearest").textContent = `${exact ? "The dial stands on a scored candidate" : "Nearest scored candidate (the dial's own position was not scored)"}: `
      + `${c.label}; scores ${scores}${c.on_front ? "; on the front" : ""}.`;
    const { x, y } = place([c]);
    Plotly.restyle(figure, { x: [x], y: [y] }, [3]);
    at("points").value = exact && c.on_front ? c.id : "";
  };

  const turnTo = (id) => {
    const c = front.candidates.find((one) => one.id === id);
    if (!c) return;
    for (const { name, low, high } of sliders) dial[name] = Math.min(Math.max(c.coefficients[name], low), high);
    for (const input of inputs) input.value = dial[input.dataset.name];
    point();
    askAgain();
  };

  draw();
  point();
  for (const input of inputs) {
    input.addEventListener("input", () => { dial[input.dataset.name] = Number(input.value); point(); });
    input.addEventListener("change", askAgain);
  }
  if (figure) {
    figure.on("plotly_click", (event) => turnTo(event.points[0].customdata));
    at("points").addEventListener("change", () => turnTo(at("points").value));
    for (const id of ["axis-x", "axis-y"]) at(id).addEventListener("change", draw);
  }
})();
