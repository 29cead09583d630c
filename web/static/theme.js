// Before anything is drawn: the theme that was chosen, and that there is JavaScript.
document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // storage is switched off; the system's theme it is
}
