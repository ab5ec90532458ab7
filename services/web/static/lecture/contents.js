// Marks the chapter that is being read, and lets a change of language stay at it. Knows no chapter.

const READING_BAND = "-15% 0px -80% 0px";

export function followReader() {
  const links = new Map([...document.querySelectorAll(".contents ol a")].map((link) => [link.hash.slice(1), link]));
  const languages = document.querySelectorAll(".languages a");
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        for (const [id, link] of links) mark(link, id === target.id);
        for (const language of languages) language.hash = target.id;
      }
    },
    { rootMargin: READING_BAND },
  );
  for (const id of links.keys()) watcher.observe(document.getElementById(id));
}

function mark(link, isHere) {
  if (isHere) link.setAttribute("aria-current", "location");
  else link.removeAttribute("aria-current");
}
