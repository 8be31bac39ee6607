// unfold under a Content-Security-Policy without 'unsafe-eval' and inline styles. In place of Alpine's standard build
// stands its CSP build (../unfold/js/alpine/alpine.js: @alpinejs/csp 3.17.4 from npm, dist/cdn.min.js as it is), which reads expressions instead of compiling them. It knows no
// globals and no statements: the few expressions of unfold's templates that have some are worded anew here, before it starts.
// An expression that a new unfold brings, and that it can't read, is an error in the browser's console: `make browser` fails.
(() => {
  "use strict";
  const REWORDED = [
    ["openSearchResults = true; currentIndex = 0", "[openSearchResults = true, currentIndex = 0]"],
    [/^openSearchResults = false; if .*$/s, "[openSearchResults = false, $emptied($refs.searchInput) || $refs.searchInput.blur()]"],
    [/^sidebarDesktopOpen = !sidebarDesktopOpen;.*$/s, "sidebarDesktopOpen = !sidebarDesktopOpen"], // kept by the page's own watch
    [/^if \(!\$event\.metaKey && !\$event\.ctrlKey\) (selectItem\(.*\))$/, "$event.metaKey || $event.ctrlKey || $1"],
    [/window\.location\.pathname \+ window\.location\.search/g, "$address"],
    ["'width: ' + changeListWidth + 'px'", "{ width: changeListWidth + 'px' }"],
  ];
  const SIDEBAR = "sidebarDesktopOpen";

  const page = (firstTab) => ({
    activeTab: getCurrentTab() || firstTab,
    sidebarMobileOpen: false,
    [SIDEBAR]: (localStorage.getItem(SIDEBAR) ?? "1") === "1",
    init() {
      this.$watch(SIDEBAR, (open) => localStorage.setItem(SIDEBAR, open ? "1" : "0"));
    },
  });

  const reword = (element) => {
    for (const attribute of element.attributes) {
      if (!attribute.name.startsWith("x-")) continue;
      const reworded = REWORDED.reduce((text, [from, to]) => text.replace(from, to), attribute.value.trim());
      if (reworded !== attribute.value.trim()) attribute.value = reworded;
    }
  };

  document.addEventListener("alpine:init", () => {
    const { body } = document;
    const firstTab = /activeTab: '([^']*)'/.exec(body.getAttribute("x-data"))?.[1] ?? "";
    body.setAttribute("x-data", "page");
    body.removeAttribute("x-init");
    Alpine.data("page", () => page(firstTab));
    for (const component of [theme, searchForm, searchDropdown, searchCommand]) Alpine.data(component.name, component);
    Alpine.magic("address", () => window.location.pathname + window.location.search);
    Alpine.magic("emptied", () => (box) => box.value !== "" && ((box.value = ""), true));
    document.querySelectorAll("*").forEach(reword);
  });

  // Neither its styles in the page nor what it would compile are used here.
  Object.assign(htmx.config, { includeIndicatorStyles: false, allowEval: false });
})();
