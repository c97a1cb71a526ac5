// Starts Swagger UI on the service's own document, dark where the reader's system is.

import { amend, attribute } from "./amend.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

const inSection = (React, name, Original) => (props) =>
  React.createElement("section", { "aria-label": name }, React.createElement(Original, props));

/** Every part in a landmark; and no link in a button: the one that unfolds a call sets the same address, so text will do. */
const accessible = ({ React }) => ({
  wrapComponents: {
    InfoContainer: (Original) => inSection(React, "About the API", Original),
    DeepLink: (Original) => (props) =>
      props.path.includes("/") ? React.createElement("span", null, props.text) : React.createElement(Original, props),
  },
});

const parameter = (input) => input.closest("tr").querySelector(".parameter__name")?.firstChild?.textContent ?? "Value";

amend(document.getElementById("viewer"), [
  [".examples-select-element", attribute("aria-label", "Example")],
  ["tr :is(input, select, textarea):not([type=checkbox], .content-type, .examples-select-element)", attribute("aria-label", parameter)],
  [".body-param__text", attribute("aria-label", "Request body")],
  [".responses-table", attribute("aria-label", (responses) => responses.id.replaceAll("_", " "))],
  ["pre", attribute("tabindex", "0")], // they scroll
]);

SwaggerUIBundle({
  url: "/docs/openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [accessible],
});
