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

// What unfold opens by a click alone (the menus, the filters, a section of the sidebar, the theme, showing a password)
// is reached and opened by keyboard too. The keyboard goes on in what was opened; Escape closes it and leads back.
const CLICKED = "[x-on\\:click]:not(button, input, select, a[href], #changelist-filter-close)";
const STOPS = "a[href], button, input:not([type=hidden]), select, textarea, [role=button]";
const NAMES = {
  sidebarMobileOpen: "Menu",
  sidebarDesktopOpen: "Menu",
  openUserLinks: "Your account",
  showPassword: "Show the password", // pragma: allowlist secret
};
const OPENS = {
  sidebarMobileOpen: () => document.getElementById("nav-sidebar"),
  filterOpen: () => document.getElementById("changelist-filter"),
  openUserLinks: (opener) => opener.parentElement.querySelector("nav"),
};
let opened = null;

function entry(table, opener) {
  return table[Object.keys(table).find((word) => opener.getAttribute("x-on:click").includes(word))];
}

function reach(opener) {
  let button = opener;
  if (opener.matches("h1, h2, h3")) { // it stays a heading for those who hear the page, with the button in it
    button = document.createElement("span");
    button.className = "opens";
    button.append(...opener.childNodes);
    opener.append(button);
  }
  button.tabIndex = 0;
  button.setAttribute("role", "button");
  const name = entry(NAMES, opener);
  if (name) button.setAttribute("aria-label", name);
  button.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    opener.click();
    const part = entry(OPENS, opener)?.(opener);
    if (part) goOnIn(part, opener);
  });
}

function goOnIn(part, opener) {
  opened = { part, opener };
  const watch = (tries) => {
    if (opened?.part !== part) return; // closed again
    const stop = [...part.querySelectorAll(STOPS)].find((one) => one.checkVisibility());
    if (stop) stop.focus();
    else if (tries) requestAnimationFrame(() => watch(tries - 1)); // it is not shown yet
  };
  watch(60);
}

document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(CLICKED).forEach(reach));

window.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || ![opened?.part, opened?.opener].some((one) => one?.contains(document.activeElement))) return;
  if (!opened.opener.getAttribute("x-on:click").includes("filterOpen")) opened.opener.click(); // unfold closes those itself
  opened.opener.focus();
  opened = null;
});

// Charts write in the page's own colour, whether it is light or dark, and when that is changed.
function inkCharts() {
  Chart.defaults.color = getComputedStyle(document.body).color;
  for (const chart of Object.values(Chart.instances)) chart.update();
}
document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("main")?.setAttribute("role", "main");
  inkCharts();
  new MutationObserver(inkCharts).observe(document.documentElement, { attributeFilter: ["class"] });
});
