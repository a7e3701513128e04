// Builds elements. Whatever comes from outside becomes a text node, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id, which index.html promises. */
export function byId(id) {
  return document.getElementById(id);
}

/** A new element: attributes by name, `onclick` and the like as listeners, children as nodes or text. */
export function h(tag, attributes = {}, ...children) {
  return dressed(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return dressed(document.createElementNS(SVG, tag), attributes, children);
}

/** Sets an element's text, and touches the page only if it differs. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function dressed(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
