// Marks the page that is open in the navigation.

for (const link of document.querySelectorAll("nav a")) {
  if (new URL(link.href).pathname === location.pathname) link.setAttribute("aria-current", "page");
}
