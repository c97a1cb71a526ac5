// Starts ReDoc on the service's own document.
Redoc.init("/docs/openapi.json", {}, document.getElementById("viewer"));
