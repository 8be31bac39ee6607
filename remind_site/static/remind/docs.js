// Swagger UI over the API's description. The token that is typed into 'Authorize' stays in the page.
SwaggerUIBundle({
  url: document.getElementById("docs").dataset.schema,
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
});
