"use strict";

// Draws a figure whose traces of candidates name rows of a table: see mva/report/points.py.
const WEBGL = Boolean(document.createElement("canvas").getContext("webgl"));

// A column of numbers: as it is, by code, or as 16-bit shares of a range (low byte first).
const column = (packed) => {
  if (!packed || Array.isArray(packed)) return packed;
  if (packed.codes !== undefined) return Array.from(packed.codes, (code) => packed.levels[code]);
  if (packed.steps === undefined) return packed;
  const bytes = atob(packed.steps);
  const size = (packed.high - packed.low) / 65535;
  return Array.from({ length: bytes.length / 2 }, (_, i) =>
    packed.low + size * (bytes.charCodeAt(2 * i) + 256 * bytes.charCodeAt(2 * i + 1)));
};

const unpackTable = (table) => {
  for (const job of table.jobs) for (const key of ["scores", "errors"]) job[key] = job[key].map(column);
  for (const list of table.candidates) {
    list.coefficients = list.coefficients.map(column);
    if (typeof list.ids === "string") list.ids = list.ids.match(/.{12}/g);
  }
  return table;
};

const drawPoints = (place, figure, table) => {
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("\n", "<br>");
  const candidates = (job) => table.candidates[job.candidates];

  const label = (job, k) => {
    const { vectors, coefficients } = candidates(job);
    const parts = vectors.map((name, v) => [name, Number(coefficients[v][k].toPrecision(4))]).filter(([, omega]) => omega);
    return parts.map((part) => part.join(" ")).join(", ") || "base";
  };
  const hover = (job, k) => {
    const scores = table.values.map((name, v) => `${name} ${job.scores[v][k].toFixed(3)} ± ${job.errors[v][k].toFixed(3)}`);
    const lines = [...(job.label ? [job.label] : []), label(job, k), `${candidates(job).ids[k]}: ${scores.join(", ")}`];
    return plain([...lines, ...(Object.hasOwn(job.samples, k) ? [job.samples[k]] : [])].join("\n"));
  };
  const fill = (trace) => {
    const rows = trace.meta.runs.flatMap(([number, first, count]) =>
      Array.from({ length: count }, (_, i) => ({ job: table.jobs[number], number, k: first + i })));
    const scores = (v) => rows.map(({ job, k }) => job.scores[v][k]);
    trace.ids = rows.map(({ job, number, k }) => `${candidates(job).ids[k]} ${number}`);
    trace.customdata = rows.map(({ job }) => job.name);
    if (trace.dimensions) trace.dimensions.forEach((dimension, v) => { dimension.values = scores(v); });
    else {
      trace.x = scores(0);
      trace.y = table.values.length > 1 ? scores(1) : rows.map(() => 0);
      if (trace.type === "scatter3d") trace.z = scores(2);
    }
    if (trace.type !== "parcoords") trace[trace.dimensions ? "text" : "hovertext"] = rows.map(({ job, k }) => hover(job, k));
    [[trace.marker, "size"], [trace.marker, "opacity"], [trace.marker?.line, "width"], [trace.line, "color"]]
      .forEach(([node, name]) => { if (node?.[name]) node[name] = column(node[name]); });
    if (trace.type === "scattergl" && !WEBGL) trace.type = "scatter";
    delete trace.meta;
  };

  figure.data.filter((trace) => trace.meta?.runs).forEach(fill);
  Plotly.newPlot(place, figure.data, figure.layout, { responsive: true, displaylogo: false, showTips: false });
};

// Draws the figures of the front `number` into their places.
const drawFigures = (number) => {
  const { points, figures } = JSON.parse(document.getElementById(`figures-${number}`).textContent);
  unpackTable(points);
  figures.forEach((figure, k) => drawPoints(document.getElementById(`front-${number}-${k}`), figure, points));
};
