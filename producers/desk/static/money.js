"use strict";
// Amounts as whole numbers, exactly as the checks of the front-end compute them (JG x MCYL, halves away from zero).

const money = {
  // "12.5" with 4 places is 125000n; null when it is not a plain decimal with at most so many places.
  scaled(text, places) {
    const found = /^(-?)(0|[1-9][0-9]{0,7})(?:\.([0-9]+))?$/.exec(text.trim());
    if (!found || (found[3] || "").length > places) return null;
    const value = BigInt(found[2] + (found[3] || "").padEnd(places, "0"));
    return found[1] ? -value : value;
  },

  // Price (4 places) times quantity (2 places) in fen; null when one of them cannot be read.
  amount(price, quantity) {
    const p = money.scaled(price, 4), q = money.scaled(quantity, 2);
    if (p === null || q === null) return null;
    const product = p * q, size = product < 0n ? -product : product;
    const fen = (2n * size + 10000n) / 20000n;
    return product < 0n ? -fen : fen;
  },

  fen(yuan) {
    return money.scaled(yuan, 2) ?? 0n;
  },

  yuan(fen) {
    const size = fen < 0n ? -fen : fen;
    return `${fen < 0n ? "-" : ""}${size / 100n}.${String(size % 100n).padStart(2, "0")}`;
  },
};
