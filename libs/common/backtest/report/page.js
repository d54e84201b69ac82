"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const root = document.documentElement;
  const wished = window.matchMedia("(prefers-color-scheme: dark)");
  let dark = wished.matches;
  let chosen = false;

  // "$accent" and its like become the colour of that name in the theme of the moment.
  const colored = (value, style) => {
    if (typeof value === "string") {
      return /^\$[a-z]+$/.test(value) ? style.getPropertyValue("--" + value.slice(1)).trim() : value;
    }
    if (Array.isArray(value)) {
      const plain = typeof value[0] === "number" && typeof value[1] !== "string";
      return plain ? value : value.map((item) => colored(item, style));
    }
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, colored(v, style)]));
    }
    return value;
  };

  const axis = (own, rule) => ({
    gridcolor: rule, zerolinecolor: rule, linecolor: rule, automargin: true, ...own,
  });

  const themed = (figure, style) => {
    const { data, layout } = colored(figure, style);
    const rule = style.getPropertyValue("--rule").trim();
    const ink = style.getPropertyValue("--ink").trim();
    const card = style.getPropertyValue("--card").trim();
    const whole = {
      height: 300,
      margin: { l: 56, r: 16, t: 24, b: 36 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, size: 12, family: getComputedStyle(document.body).fontFamily },
      hoverlabel: { bgcolor: card, bordercolor: rule, font: { color: ink } },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      separators: ".,",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: rule, activecolor: ink },
      ...layout,
    };
    for (const name of new Set([...Object.keys(whole), "xaxis", "yaxis"])) {
      if (/^[xy]axis\d*$/.test(name)) whole[name] = axis(whole[name], rule);
    }
    for (const menu of whole.updatemenus || []) {
      Object.assign(menu, { bgcolor: card, bordercolor: rule, font: { color: ink, size: 11 } });
    }
    return { data, layout: whole };
  };

  const draw = () => {
    root.classList.toggle("dark", dark);
    const style = getComputedStyle(root);
    for (const [name, figure] of Object.entries(figures)) {
      const { data, layout } = themed(figure, style);
      Plotly.react("plot-" + name, data, layout, {
        responsive: true, displaylogo: false,
        modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      });
    }
  };

  document.getElementById("theme").addEventListener("click", () => {
    dark = !dark;
    chosen = true;
    draw();
  });
  wished.addEventListener("change", () => {
    if (!chosen) {
      dark = wished.matches;
      draw();
    }
  });
  let before = dark;
  window.addEventListener("beforeprint", () => {
    before = dark;
    dark = false;
    draw();
  });
  window.addEventListener("afterprint", () => {
    dark = before;
    draw();
  });
  draw();
})();
