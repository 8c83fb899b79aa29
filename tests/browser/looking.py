"""Scripts that look at a view from within: what is too wide, too small, not translated, and where Tab leads."""

from __future__ import annotations

from typing import Final

# Elements that reach out of the window, unless something around them scrolls by itself.
TOO_WIDE: Final = """() => {
  const found = [], width = document.documentElement.clientWidth;
  if (document.scrollingElement.scrollWidth > width) found.push('the whole page');
  for (const element of document.body.querySelectorAll('*')) {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height || (box.right <= width + 1 && box.left >= -1)) continue;
    let around = element, scrolls = false;
    while ((around = around.parentElement)) {
      if (['auto', 'scroll'].includes(getComputedStyle(around).overflowX)) scrolls = true;
    }
    const style = getComputedStyle(element);
    const aside = style.position === 'absolute' || style.position === 'fixed';  // what only screen readers see
    if (!scrolls && !(aside && (box.width <= 1 || box.bottom <= 0 || box.right <= 0))) {
      found.push(element.outerHTML.slice(0, 160));
    }
  }
  return found.slice(0, 5);
}"""

_INTERACTIVE: Final = """
  'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]:not([tabindex="-1"])'
"""
_SHOWN: Final = """
  const shown = (element) => element.checkVisibility({visibilityProperty: true}) && element.getClientRects().length > 0
    && !element.disabled;
"""

# A link within a sentence may be as high as its line (WCAG 2.2, 2.5.8); a small box may have a large label.
SMALL_TARGETS: Final = f"""(least) => {{
  {_SHOWN}
  const found = [];
  for (const element of document.querySelectorAll({_INTERACTIVE})) {{
    if (!shown(element)) continue;
    let box = element.getBoundingClientRect();
    if (box.bottom <= 0 || box.right <= 0 || box.width <= 1) continue;  // shown when it has the focus
    if (element.labels?.length) {{
      const label = element.labels[0].getBoundingClientRect();
      if (label.width * label.height > box.width * box.height) box = label;
    }}
    const inline = getComputedStyle(element).display === 'inline'
      && element.parentElement.textContent.trim() !== element.textContent.trim();
    if (!inline && Math.min(box.width, box.height) < least - 0.5) {{
      found.push(`${{Math.round(box.width)}}x${{Math.round(box.height)}} ${{element.outerHTML.slice(0, 160)}}`);
    }}
  }}
  return found;
}}"""

# Several Latin words in a row in something that a Chinese reader sees, and that is neither data nor another language.
NOT_CHINESE: Final = """() => {
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (element.closest('script, style, code, pre, kbd, samp, [translate=no]')) continue;
    if (element.closest('[lang]:not(html):not([lang=zh-CN])')) continue;
    const text = node.textContent.trim();
    if (/\\b[A-Za-z][a-z]+(?: [a-z]+)+/.test(text) && !/[\\u4e00-\\u9fff]/.test(text)) found.push(text.slice(0, 120));
  }
  for (const element of document.querySelectorAll('[aria-label], [title], [placeholder], [alt]')) {
    for (const name of ['aria-label', 'title', 'placeholder', 'alt']) {
      const text = element.getAttribute(name) || '';
      if (/[A-Za-z]{3}/.test(text) && !/[\\u4e00-\\u9fff]/.test(text) && !element.closest('[translate=no]')) {
        found.push(`${name}=${text.slice(0, 120)}`);
      }
    }
  }
  return found;
}"""

_LABEL: Final = """
  const label = (element) => element.tagName.toLowerCase() + ' ' + (element.getAttribute('href') || element.name
    || element.id || '') + ' ' + (element.value || element.textContent || '').trim().replace(/\\s+/g, ' ').slice(0, 40);
"""

# What the Tab key should reach, in the order of reading. Of radio buttons of one name, it reaches one.
TABBABLE: Final = f"""() => {{
  {_SHOWN} {_LABEL}
  const groups = new Set();
  return [...document.querySelectorAll({_INTERACTIVE})].filter((element) => {{
    if (!shown(element)) return false;
    const closed = element.closest('details:not([open])');
    if (closed && !(element.tagName === 'SUMMARY' && element.parentElement === closed)) return false;
    if (element.type !== 'radio') return true;
    const group = [...document.getElementsByName(element.name)].filter((one) => one.form === element.form);
    const chosen = group.find((one) => one.checked) || group[0];
    return element === chosen;
  }}).map(label);
}}"""

FOCUSED: Final = f"""() => {{
  {_LABEL}
  const element = document.activeElement, style = getComputedStyle(element);
  const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
  const box = element.getBoundingClientRect();
  return [label(element), (outlined || style.boxShadow !== 'none') && box.width > 1 && box.bottom > 0];
}}"""
