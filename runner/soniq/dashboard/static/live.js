// Keeps a page up to date, and writes times in the viewer's zone. Without it, pages are as they were when they were loaded.
(() => {
  "use strict";

  const EVERY = 2000; // milliseconds
  // And after what took long, this many times as long: whoever looks takes a tenth of one connection's time at most.
  const REST = 10;
  const day = { year: "numeric", month: "short", day: "numeric" };
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const sameYear = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", ...clock });
  const otherYear = new Intl.DateTimeFormat(undefined, { ...day, ...clock });
  const onlyClock = new Intl.DateTimeFormat(undefined, clock);
  const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const dayAndMinute = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

  // <time class="at"> and <time class="tick"> say UTC until this has run; their titles go on saying it exactly.
  function inZone(time) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.valueOf())) return time.textContent;
    const now = new Date();
    if (time.classList.contains("tick")) {
      return (Math.abs(now - at) < 20 * 3600 * 1000 ? minute : dayAndMinute).format(at);
    }
    if (at.toDateString() === now.toDateString()) return onlyClock.format(at);
    return (at.getFullYear() === now.getFullYear() ? sameYear : otherYear).format(at);
  }

  function writeTimes(within) {
    for (const time of within.querySelectorAll("time.at, time.tick")) {
      const text = inZone(time);
      if (time.textContent !== text) time.textContent = text;
    }
  }

  // What is new is morphed into what is there: so focus and scrolling stay, and here what the viewer has opened or ticked.
  function keepWhatTheViewerDid() {
    const callbacks = Idiomorph.defaults.callbacks;
    callbacks.beforeAttributeUpdated = (name, node) =>
      !(name === "open" && node.tagName === "DETAILS") && !(name === "checked" && node.tagName === "INPUT");
    callbacks.beforeNodeMorphed = (_, node) => {
      if (node.nodeType === Node.ELEMENT_NODE && node.tagName === "TIME") writeTimes(node.parentNode ?? node);
      return true;
    };
  }

  const isSelecting = (live) => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && live.contains(selection.anchorNode);
  };

  function say(text) {
    const place = document.getElementById("liveness");
    if (place.textContent !== text) place.textContent = text;
  }

  function keepUpToDate() {
    let latest = new Date();
    let asked = 0;
    const wait = (pause) => setTimeout(ask, pause);
    const ask = () => {
      const live = document.getElementById("live");
      if (!live) return;
      if (document.hidden || isSelecting(live)) {
        wait(EVERY / 4);
        return;
      }
      asked = performance.now();
      htmx.trigger(live, "refresh");
    };
    wait(EVERY);
    document.body.addEventListener("htmx:afterRequest", (event) => {
      wait(Math.max(EVERY, REST * (performance.now() - asked)));
      if (event.detail.successful) {
        latest = new Date();
        say("");
        return;
      }
      const status = event.detail.xhr.status;
      say(
        status === 401
          ? "You are signed out: load the page again to sign in."
          : status === 404
            ? "This is no longer there."
            : `Not up to date since ${onlyClock.format(latest)}; trying again.`,
      );
    });
    document.body.addEventListener("htmx:afterSwap", () => {
      writeTimes(document);
      needSelection();
    });
  }

  // Buttons that are about what is ticked are of use once something is.
  function needSelection() {
    for (const button of document.querySelectorAll("button[data-needs]")) {
      button.disabled = !button.form.querySelector(`input[name="${button.dataset.needs}"]:checked`);
    }
  }

  function tickTogether() {
    document.addEventListener("change", ({ target }) => {
      if (target.dataset?.all) {
        for (const box of target.form.querySelectorAll(`input[name="${target.dataset.all}"]`)) box.checked = target.checked;
      }
      needSelection();
    });
    needSelection();
  }

  // The page of a database that was away.
  function comeBack() {
    const away = document.querySelector("[data-reload]");
    if (!away) return;
    setInterval(async () => {
      if (document.hidden) return;
      try {
        const answer = await fetch(away.dataset.reload, { method: "GET", credentials: "same-origin" });
        if (answer.status !== 503) location.replace(away.dataset.reload);
      } catch {
        // Not yet.
      }
    }, EVERY);
  }

  writeTimes(document);
  keepWhatTheViewerDid();
  keepUpToDate();
  tickTogether();
  comeBack();
})();
