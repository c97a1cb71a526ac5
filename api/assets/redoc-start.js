// Starts ReDoc on the service's own document, dark where the reader's system is.

import { amend, attribute } from "./amend.js";

const DARK = {
  colors: {
    primary: { main: "#7cc7ff" },
    success: { main: "#7bd88f" },
    error: { main: "#ff9a90" },
    text: { primary: "#e6ebed", secondary: "#a3b0b6" },
    border: { dark: "#4a5860", light: "#344046" },
    responses: {
      success: { color: "#7bd88f", backgroundColor: "#17301f" },
      error: { color: "#ff9a90", backgroundColor: "#3b2022" },
      redirect: { color: "#f3c979", backgroundColor: "#352b18" },
      info: { color: "#7cc7ff", backgroundColor: "#16303f" },
    },
  },
  schema: { nestedBackground: "#1a2226", typeNameColor: "#a3b0b6", typeTitleColor: "#a3b0b6", requireLabelColor: "#ff9a90" },
  typography: { code: { color: "#ffb3a7", backgroundColor: "#263238" }, links: { color: "#7cc7ff", visited: "#7cc7ff", hover: "#b5e0ff" } },
  sidebar: { backgroundColor: "#1a2226", textColor: "#e6ebed" },
  rightPanel: { backgroundColor: "#0b1012" },
};

const viewer = document.getElementById("viewer");
amend(viewer, [
  ["h5", attribute("aria-level", "3")], // below a call's h2; ReDoc skips two levels
  ["pre", attribute("tabindex", "0")],
]);
Redoc.init("/docs/openapi.json", matchMedia("(prefers-color-scheme: dark)").matches ? { theme: DARK } : {}, viewer);
