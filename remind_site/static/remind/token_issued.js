// A reload must not issue a second token, and "back" must not lead to this page again.
history.replaceState(null, "", document.currentScript.dataset.next);
