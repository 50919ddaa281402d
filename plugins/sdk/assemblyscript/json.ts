// Helpers for JSON text, which the host has parsed before.

/** Returns the text of a JSON string, with escapes resolved, or null for any other type. */
export function textOf(json: string): string | null {
  if (json.length < 2 || json.charCodeAt(0) != 0x22) return null;
  const inner = json.substring(1, json.length - 1);
  if (inner.indexOf("\\") < 0) return inner;
  let text = "";
  let start = 0;
  for (let at = inner.indexOf("\\"); at >= 0; at = inner.indexOf("\\", start)) {
    text += inner.substring(start, at);
    const escaped = inner.charCodeAt(at + 1);
    start = at + 2;
    if (escaped == 0x75) {
      text += String.fromCharCode(I32.parseInt(inner.substring(start, start + 4), 16));
      start += 4;
    } else if (escaped == 0x62) text += "\b";
    else if (escaped == 0x66) text += "\f";
    else if (escaped == 0x6e) text += "\n";
    else if (escaped == 0x72) text += "\r";
    else if (escaped == 0x74) text += "\t";
    else text += String.fromCharCode(escaped);
  }
  return text + inner.substring(start);
}

/** Returns a text as a JSON string. */
export function quote(text: string): string {
  let json = '"';
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code == 0x22 || code == 0x5c) json += "\\" + text.charAt(at);
    else if (code < 0x20) json += "\\u00" + (code < 0x10 ? "0" : "") + code.toString(16);
    else json += text.charAt(at);
  }
  return json + '"';
}

/**
 * Returns the JSON text of a member of an object, or null if there is none. For configurations,
 * which the host has validated; names are compared as written.
 */
export function member(json: string, name: string): string | null {
  let at = skip(json, 0) + 1;
  while (at < json.length) {
    at = skip(json, at);
    if (json.charCodeAt(at) != 0x22) return null;
    const nameEnd = end(json, at);
    const isThis = json.substring(at, nameEnd) == quote(name);
    at = skip(json, skip(json, nameEnd) + 1);
    const valueEnd = end(json, at);
    if (isThis) return json.substring(at, valueEnd);
    at = skip(json, valueEnd) + 1;
  }
  return null;
}

/** Returns the text of such a member, or null if there is none or it is not a string. */
export function memberText(json: string, name: string): string | null {
  const value = member(json, name);
  return value === null ? null : textOf(value);
}

/** Skips white space. */
function skip(json: string, start: i32): i32 {
  let at = start;
  while (at < json.length && json.charCodeAt(at) <= 0x20) at++;
  return at;
}

/** Returns where the value ends that starts here. */
function end(json: string, start: i32): i32 {
  let depth = 0;
  let at = start;
  while (at < json.length) {
    const code = json.charCodeAt(at);
    if (code == 0x22) {
      for (at++; at < json.length && json.charCodeAt(at) != 0x22; at++) if (json.charCodeAt(at) == 0x5c) at++;
      if (depth == 0) return at + 1;
    } else if (code == 0x7b || code == 0x5b) {
      depth++;
    } else if (code == 0x7d || code == 0x5d) {
      if (depth == 0) return at;
      if (--depth == 0) return at + 1;
    } else if (depth == 0 && (code == 0x2c || code <= 0x20)) {
      return at;
    }
    at++;
  }
  return at;
}
