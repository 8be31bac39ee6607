// Opens Paddle's checkout. Paddle.js itself reads the transaction from ?_ptxn= once it is initialized; this says what happens.
(() => {
  "use strict";
  const { token, environment } = document.getElementById("pay").dataset;
  const transaction = new URLSearchParams(window.location.search).get("_ptxn");

  const show = (state) => {
    for (const part of document.querySelectorAll("[data-state]")) part.hidden = part.dataset.state !== state;
  };

  let completed = false;
  const onEvent = (event) => {
    if (event.name === "checkout.completed") {
      completed = true;
      show("completed");
    } else if (event.name === "checkout.closed" && !completed) {
      show("closed");
    } else if (event.name === "checkout.error") {
      show("failed");
    }
  };

  if (!transaction) {
    show("nothing");
  } else if (!window.Paddle) {
    show("failed");
  } else {
    show("opening");
    if (environment !== "production") window.Paddle.Environment.set("sandbox");
    window.Paddle.Initialize({ token, eventCallback: onEvent });
    document.getElementById("reopen").addEventListener("click", () => {
      show("opening");
      window.Paddle.Checkout.open({ transactionId: transaction });
    });
  }
})();
