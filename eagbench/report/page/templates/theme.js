// Dark or light: the system's choice until the reader's, which is kept for this page and its like.
(() => {
  const root = document.documentElement, key = "eagbench-theme";
  const kept = () => { try { return localStorage.getItem(key); } catch { return null; } };  // a browser may forbid it
  const keep = (theme) => { try { localStorage.setItem(key, theme); } catch { /* then it lasts as long as the page */ } };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  if (["dark", "light"].includes(kept())) root.dataset.theme = kept();
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "theme";
    const name = () => { button.textContent = isDark() ? "◐ Light mode" : "◐ Dark mode"; };
    button.addEventListener("click", () => { keep(root.dataset.theme = isDark() ? "light" : "dark"); name(); });
    system.addEventListener("change", name);
    name();
    document.querySelector("header").prepend(button);
  });
})();
