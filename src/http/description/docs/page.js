"use strict";

// Calls go to where this page came from: the description names the issuer, which a test machine
// or a proxy may give another address, and the page's policy lets it reach nobody else.
const here = new URL(".", location.href).href.replace(/\/$/, "");

async function show() {
  const answer = await fetch(`${here}/api/openapi.json`);
  const spec = await answer.json();
  spec.servers = [{ url: here }];
  SwaggerUIBundle({
    spec,
    dom_id: "#page",
    deepLinking: true,
    docExpansion: "list",
    tryItOutEnabled: true,
    validatorUrl: null,
  });
}

show().catch((error) => {
  document.getElementById("page").textContent = `The description cannot be loaded: ${error}`;
});
