// Names for what the theme leaves without one, and a way for the keyboard to whatever scrolls sideways.
const named = [[".md-search", "Search"], [".md-search__options", "Search options"]];
for (const [selector, name] of named)
  for (const element of document.querySelectorAll(selector)) element.setAttribute("aria-label", name);

function reachable() {
  for (const code of document.querySelectorAll("pre > code, .md-typeset__scrollwrap"))
    if (code.scrollWidth > code.clientWidth) code.setAttribute("tabindex", "0");
  document.querySelectorAll(".md-code__nav").forEach((nav, number) => nav.setAttribute("aria-label", `Code ${number + 1}`));
}
window.addEventListener("load", reachable);
window.addEventListener("resize", reachable);
new MutationObserver(reachable).observe(document.body, {childList: true, subtree: true});
