// Marks the section that is being read in the menu, and keeps its name in view there.
{
  const menu = document.querySelector("nav");
  const links = new Map([...menu.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  const mark = (entries) => {
    for (const { target, isIntersecting } of entries) {
      const link = links.get(target.id);
      if (isIntersecting) {
        link.setAttribute("aria-current", "true");
        menu.scrollLeft = link.offsetLeft - menu.offsetLeft - 24;
      } else {
        link.removeAttribute("aria-current");
      }
    }
  };
  const reading = new IntersectionObserver(mark, { rootMargin: "-20% 0px -79% 0px" });
  document.querySelectorAll("main > section").forEach((section) => reading.observe(section));
}
