// What a viewer's own markup lacks for screen readers and keyboards, put in as it draws.

/** Applies each of `changes`, `[selector, change of the element]`, to what is in `viewer` and to all that comes into it. */
export function amend(viewer, changes) {
  const apply = () => {
    for (const [selector, change] of changes) viewer.querySelectorAll(selector).forEach(change);
  };
  new MutationObserver(apply).observe(viewer, { childList: true, subtree: true });
  apply();
}

/** A change that gives an element a name, or another attribute, which it has not. */
export const attribute = (name, value) => (element) => {
  if (!element.hasAttribute(name)) element.setAttribute(name, typeof value === "function" ? value(element) : value);
};
