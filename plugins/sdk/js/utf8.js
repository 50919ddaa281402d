// Conversion between text and bytes. The engine has no TextEncoder and TextDecoder, and
// interpreting each byte would cost more than everything else. So this uses Base64, which the
// engine implements in native code, to convert between bytes and strings of one character per byte
// ("latin").

const NOT_ASCII = /[\x80-\xff]+/g;
const NOT_ASCII_TEXT = /[^\x00-\x7f]+/g;
const MARK = "\xef\xbb\xbf";
const WORDS = 8;

/** Returns a string with one character per byte. */
export function latin(data) { return atob(data.toBase64()); }

/** Returns whether all bytes are below 128. Tests eight words at a time. */
export function isAscii(data) {
  let at = 0;
  let bits = 0;
  const misplaced = -data.byteOffset & 3;
  const count = (data.length - misplaced) >> 2;
  if (count >= WORDS) {
    const words = new Int32Array(data.buffer, data.byteOffset + misplaced, count);
    const end = count - WORDS;
    let word = 0;
    for (; word <= end; word += WORDS) {
      bits |= words[word] | words[word + 1] | words[word + 2] | words[word + 3]
        | words[word + 4] | words[word + 5] | words[word + 6] | words[word + 7];
    }
    if ((bits & 0x80808080) !== 0) return false;
    for (; at < misplaced; at++) bits |= data[at];
    at += 4 * word;
  }
  for (; at < data.length; at++) bits |= data[at];
  return (bits & 0x80808080) === 0;
}

/**
 * Decodes a latin string of UTF-8 as TextDecoder does: drops a byte order mark, and replaces
 * invalid bytes with U+FFFD.
 */
export function decodeLatin(text) {
  return (text.startsWith(MARK) ? text.slice(MARK.length) : text).replace(NOT_ASCII, decodeRun);
}

/** Decodes UTF-8. */
export function decode(data) {
  const text = latin(data);
  return isAscii(data) ? text : decodeLatin(text);
}

/** Encodes text as UTF-8. A lone surrogate becomes U+FFFD. */
export function encode(text) {
  return encodeAscii(text) ?? fromLatin(text.replace(NOT_ASCII_TEXT, encodeRun));
}

/** Returns the bytes of an ASCII text, or null for any other text. */
export function encodeAscii(text) {
  let data;
  try {
    data = fromLatin(text);
  } catch {
    return null;
  }
  return isAscii(data) ? data : null;
}

function fromLatin(text) { return Uint8Array.fromBase64(btoa(text)); }

function encodeRun(run) { return unescape(encodeURIComponent(run.toWellFormed())); }

/**
 * Decodes non-ASCII bytes that begin and end at character boundaries. The longest valid prefix of
 * an invalid character becomes one U+FFFD.
 */
function decodeRun(run) {
  try {
    return decodeURIComponent(escape(run));
  } catch {
    // Not UTF-8.
  }
  let text = "";
  let at = 0;
  while (at < run.length) {
    const first = run.charCodeAt(at++);
    let [following, point, low, high] = [0, 0, 0x80, 0xbf];
    if (first >= 0xc2 && first <= 0xdf) {
      [following, point] = [1, first & 0x1f];
    } else if (first >= 0xe0 && first <= 0xef) {
      [following, point] = [2, first & 0x0f];
      if (first === 0xe0) low = 0xa0;
      if (first === 0xed) high = 0x9f;
    } else if (first >= 0xf0 && first <= 0xf4) {
      [following, point] = [3, first & 0x07];
      if (first === 0xf0) low = 0x90;
      if (first === 0xf4) high = 0x8f;
    }
    let right = following > 0;
    for (; right && following > 0; following--) {
      const next = at < run.length ? run.charCodeAt(at) : 0;
      right = next >= low && next <= high;
      if (right) {
        point = (point << 6) | (next & 0x3f);
        at++;
      }
      low = 0x80;
      high = 0xbf;
    }
    text += right ? String.fromCodePoint(point) : "\ufffd";
  }
  return text;
}
