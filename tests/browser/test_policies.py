"""What the Content-Security-Policies let pages do: all that unfold, Swagger UI and Paddle need, and no more."""

import pytest

INJECT = """async () => {
  const element = (name, attributes) =>
    document.body.appendChild(Object.assign(document.createElement(name), attributes));
  element("script", { textContent: "window.inline = true" });
  element("p", { innerHTML: '<img src="data:," onerror="window.handler = true">' });
  element("p", { innerHTML: '<b id="styled" style="position: fixed">x</b>' });
  const loaded = await new Promise((resolve) => {
    const ends = { onload: () => resolve(true), onerror: () => resolve(false) };
    element("script", { src: "https://evil.example/x.js", ...ends });
  });
  return [window.inline, window.handler, loaded, getComputedStyle(document.getElementById("styled")).position];
}"""
# As Paddle.js does it: a style sheet of its own, and a frame whose style attribute it sets.
PADDLE_JS = """
window.Paddle = {
  Environment: { set() {} },
  Initialize({ eventCallback }) {
    const href = "https://cdn.paddle.com/paddle/v2/assets/css/paddle.css";
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
    const frame = document.createElement("iframe");
    frame.setAttribute("style", "position: fixed; inset: 0");
    frame.setAttribute("allow", "payment");
    frame.onload = () => eventCallback({ name: "checkout.completed" });
    frame.src = "https://sandbox-buy.paddle.com/checkout";
    document.body.append(frame);
  },
};
"""


@pytest.mark.parametrize("path", ["/admin/", "/api/v1/docs", "/api/v1/checkout/free", "/pay"])
def test_what_is_injected_does_not_run(visit, path):
    page = visit("admin" if path == "/admin/" else "")
    page.route("https://evil.example/**", lambda route: route.fulfill(body="window.foreign = true"))
    page.goto(path)
    # Paddle.js sets the style attribute of its frame.
    assert page.evaluate(INJECT) == [None, None, False, "fixed" if path == "/pay" else "static"]
    assert any("Content Security Policy" in complaint for complaint in visit.complaints)
    visit.complaints.clear()


def on_click(page, expression):
    return page.locator(f'[x-on\\:click="{expression}"]').first


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_consoles_controls_work(visit, scheme):
    """Those whose expressions are worded anew in unfold.js, and some of each kind that are not."""
    page = visit("admin", scheme=scheme)
    page.goto("/admin/licenses/license/")
    is_dark = "document.documentElement.classList.contains('dark')"
    assert page.evaluate(is_dark) == (scheme == "dark")
    other = "light" if scheme == "dark" else "dark"
    on_click(page, "openUserLinks = !openUserLinks").click()
    on_click(page, f"switchTheme('{other}')").click()
    page.wait_for_function(f"{is_dark} == {str(other == 'dark').lower()}")
    page.reload()
    page.wait_for_function(f"{is_dark} == {str(other == 'dark').lower()}")

    sidebar = page.locator("#nav-sidebar")
    toggle = on_click(page, "sidebarDesktopOpen = !sidebarDesktopOpen")
    toggle.click()
    sidebar.wait_for(state="hidden")
    page.reload()
    page.wait_for_load_state("networkidle")
    assert sidebar.is_hidden(), "it is remembered"
    toggle.click()
    sidebar.wait_for(state="visible")

    page.locator("input.action-select").first.check()
    bar = page.locator("#changelist-actions")
    bar.wait_for(state="visible")
    assert "width" in bar.get_attribute("style")
    on_click(page, "filterOpen = true").click()
    page.locator("#changelist-filter").wait_for(state="visible")
    page.keyboard.press("Escape")
    page.locator("#changelist-filter").wait_for(state="hidden")

    page.goto("/admin/licenses/plan/1/change/")
    assert page.evaluate("document.querySelector('form[x-bind\\\\:action]').action").endswith("/plan/1/change/")


def test_the_documentation_is_there_to_try(visit):
    for scheme in ("light", "dark"):
        page = visit(scheme=scheme)
        page.goto("/api/v1/docs")
        page.locator(".opblock-summary", has_text="/health").first.click()
        page.locator("button", has_text="Try it out").first.click()
        page.locator("button", has_text="Execute").first.click()
        page.wait_for_selector(".live-responses-table >> text=200")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paddles_script_and_frame_may_do_what_they_do(visit, scheme):
    page = visit(scheme=scheme)
    page.route(
        "https://cdn.paddle.com/paddle/v2/paddle.js",
        lambda route: route.fulfill(body=PADDLE_JS, content_type="text/javascript"),
    )
    page.route(
        "https://cdn.paddle.com/**/*.css",
        lambda route: route.fulfill(body="iframe { border: 0 }", content_type="text/css"),
    )
    page.route(
        "https://sandbox-buy.paddle.com/**", lambda route: route.fulfill(body="<p>pay</p>", content_type="text/html")
    )
    page.goto("/pay?_ptxn=txn_1")
    page.wait_for_selector("text=Thank you!")
    assert page.evaluate("getComputedStyle(document.querySelector('iframe')).position") == "fixed"
