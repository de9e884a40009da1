"use strict";
(() => {
  const form = document.getElementById("filters");
  const rows = [...document.querySelectorAll("tr[data-job]")];
  const settings = new Map(rows.map((row) => [row.dataset.job, JSON.parse(row.dataset.settings)]));
  const plots = [...document.querySelectorAll(".js-plotly-plot")];
  const whole = plots.map((plot) => plot.data);

  // A trace with the points of the shown jobs alone; one whose points belong to no job stays as it is.
  const part = (trace, shown) => {
    if (!trace.customdata) return trace;
    const kept = trace.customdata.map((job) => shown.has(job));
    if (kept.every(Boolean)) return trace;
    const cut = (list) => (Array.isArray(list) ? list.filter((_, i) => kept[i]) : list);
    const cutKeys = (object, keys) =>
      object && { ...object, ...Object.fromEntries(keys.filter((key) => key in object).map((key) => [key, cut(object[key])])) };
    const made = cutKeys(trace, ["x", "y", "z", "text", "hovertext", "customdata", "ids"]);
    if (made.line) made.line = cutKeys(made.line, ["color"]);
    if (made.marker) {
      made.marker = cutKeys(made.marker, ["size", "opacity"]);
      if (made.marker.line) made.marker.line = cutKeys(made.marker.line, ["width"]);
    }
    for (const bars of ["error_x", "error_y"]) if (made[bars]) made[bars] = cutKeys(made[bars], ["array"]);
    if (made.dimensions) made.dimensions = made.dimensions.map((one) => cutKeys(one, ["values"]));
    if (!kept.some(Boolean)) made.visible = false;
    return made;
  };

  const wanted = () => [...form.querySelectorAll("fieldset")].map((set) => {
    const list = set.querySelector("select");
    const boxes = [...set.querySelectorAll("input")];
    const chosen = list ? (list.value ? [JSON.parse(list.value)] : null) : boxes.filter((box) => box.checked).map((box) => box.value);
    return [set.dataset.key, chosen && new Set(chosen)];
  });

  const apply = () => {
    const wishes = wanted();
    const fits = (job) => wishes.every(([key, chosen]) => !chosen || chosen.has(settings.get(job)[key]));
    const shown = new Set([...settings.keys()].filter(fits));
    rows.forEach((row) => { row.hidden = !shown.has(row.dataset.job); });
    plots.forEach((plot, i) => Plotly.react(plot, whole[i].map((trace) => part(trace, shown)), plot.layout));
    document.getElementById("shown").textContent = `${shown.size} of ${rows.length} jobs shown`;
  };

  form.hidden = false;
  form.addEventListener("change", apply);
  form.addEventListener("reset", () => setTimeout(apply)); // the form is reset after its event
})();
