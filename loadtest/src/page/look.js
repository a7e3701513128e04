"use strict";
// Shows what was measured at the second under the pointer, in all charts at once. The page is whole without it.
(() => {
  const charts = [...document.querySelectorAll("svg[data-chart]")].map((svg) => ({
    svg,
    data: JSON.parse(svg.dataset.chart),
  }));
  const values = document.createElement("div");
  values.className = "values";
  values.hidden = true;
  document.body.append(values);

  const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
  const cursor = (svg) => {
    let line = svg.querySelector(".cursor");
    if (!line) {
      line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      line.setAttribute("class", "cursor");
      svg.append(line);
    }
    return line;
  };

  const leave = () => {
    values.hidden = true;
    for (const { svg } of charts) svg.querySelector(".cursor")?.remove();
  };

  for (const { svg, data } of charts) {
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const [left, right, width] = data.field;
      const x = ((event.clientX - box.left) / box.width) * width;
      if (x < left || x > right) return leave();
      const second = ((x - left) / (right - left)) * data.end_s;
      const slot = Math.floor(second / data.width_s);
      for (const other of charts) {
        const height = other.svg.viewBox.baseVal.height;
        cursor(other.svg).setAttribute("d", `M${x.toFixed(1)} 12V${height - 24}`);
      }
      values.replaceChildren();
      const head = document.createElement("b");
      head.textContent = clock(slot * data.width_s);
      values.append(head);
      for (const { name, values: all } of data.lines) {
        const value = all[slot];
        if (value === null || value === undefined) continue;
        const row = document.createElement("div");
        row.textContent = `${name} ${value}${data.unit}`;
        values.append(row);
      }
      values.hidden = false;
      const isRight = event.clientX > window.innerWidth / 2;
      values.style.left = isRight ? "" : `${event.clientX + 16}px`;
      values.style.right = isRight ? `${window.innerWidth - event.clientX + 16}px` : "";
      values.style.top = `${event.clientY + 12}px`;
    });
  }
})();
