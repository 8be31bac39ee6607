// The copy button of the page that shows a token once.
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
