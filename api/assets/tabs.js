// Tabs by the ARIA pattern: one of them in the tab order, arrows move between them.

/** Makes the buttons in `list` the tabs of the panels that they control; `chosen` is told of each change. */
export function tabs(list, chosen = () => {}) {
  const all = [...list.querySelectorAll('[role="tab"]')];

  function choose(tab) {
    for (const other of all) {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).hidden = other !== tab;
    }
    chosen(tab.id);
  }

  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) choose(tab);
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const here = all.indexOf(document.activeElement);
    const place = { Home: 0, End: all.length - 1 }[event.key] ?? (step && (here + step + all.length) % all.length);
    if (place === undefined || here < 0) return;
    event.preventDefault();
    all[place].focus();
    choose(all[place]);
  });
}
