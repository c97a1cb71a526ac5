// Starts Swagger UI on the service's own document.
SwaggerUIBundle({
  url: "/docs/openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  presets: [SwaggerUIBundle.presets.apis],
});
