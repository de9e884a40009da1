"use strict";

// What a model or a user wrote is text, never markup.
const element = (tag, text, parent) => {
  const made = document.createElement(tag);
  made.textContent = text;
  parent.append(made);
  return made;
};

// A candidate's id as the last part of an address; half a character (a lone surrogate) has no place in one.
const anchor = (id) => encodeURIComponent(id.replace(/[\ud800-\udfff]/gu, "?"));

// Sliders, one a value, that say how much each matters. Gives a function that picks the best of some candidates: scores
// scaled to each value's range over `everyone`, weighted by the sliders' shares. `scores(candidate)` is a list.
const preferences = (sliders, everyone, scores) => {
  const ranges = sliders.map((_, i) => {
    const all = everyone.map((candidate) => scores(candidate)[i]);
    return [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))]; // too many to be arguments
  });
  const scaled = (score, [low, high]) => (high > low ? (score - low) / (high - low) : 0);
  return (candidates) => {
    const weights = sliders.map((slider) => Number(slider.value));
    const total = weights.reduce((a, b) => a + b, 0);
    const shares = weights.map((weight) => (total ? weight / total : 1 / weights.length));
    sliders.forEach((slider, i) => { slider.nextElementSibling.textContent = `${Math.round(100 * shares[i])} %`; });
    const utility = (candidate) => shares.reduce((sum, share, i) => sum + share * scaled(scores(candidate)[i], ranges[i]), 0);
    return candidates.reduce((best, one) => (utility(one) > utility(best) ? one : best));
  };
};

// The candidate that a trace's point stands for: its id without its job's number.
const candidateOf = (trace, index) => trace.ids[index].slice(0, trace.ids[index].lastIndexOf(" "));

// Calls `choose(trace, index)` when a candidate's point is clicked, in any figure.
const onCandidate = (choose) => document.querySelectorAll(".js-plotly-plot").forEach((figure) =>
  figure.on("plotly_click", (event) => {
    const { curveNumber, pointNumber } = event.points[0];
    const trace = figure.data[curveNumber];
    if (trace.ids) choose(trace, pointNumber);
  }));
