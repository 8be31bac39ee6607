// What the console's pages do beside unfold's own: first, the copy button of the page that shows a token once.
document.addEventListener("click", async (event) => {
  if (!event.target.closest("button.copy")) return;
  const token = document.getElementById("token");
  token.select();
  try {
    await navigator.clipboard.writeText(token.value);
    document.getElementById("copied").textContent = "Copied.";
  } catch {
    document.getElementById("copied").textContent = "It is selected: copy it with Ctrl-C.";
  }
});

// A whole token that is typed into a list's search box is cut to its prefix before it gets into an address.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "get") return;
  for (const box of event.target.querySelectorAll("input")) {
    box.value = box.value.replace(/(remind_[a-z][a-z0-9-]{2,30}_[a-z0-9]{6})[a-z0-9]{2,}/gi, "$1");
  }
}, true);

// The keyboard's first stop leads past the sidebar.
document.addEventListener("DOMContentLoaded", () => {
  const content = document.getElementById("content");
  if (!content) return;
  const skip = Object.assign(document.createElement("a"), { href: "#content", className: "skip", textContent: "Skip to content" });
  content.tabIndex = -1;
  document.body.prepend(skip);
});
