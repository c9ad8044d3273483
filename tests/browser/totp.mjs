// An authenticator app, as RFC 6238 has it: SHA-1, six digits, thirty seconds.

import { createHmac } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const STEP = 30_000;
const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

function decoded(secret) {
  const bits = [...secret].map((letter) => BASE32.indexOf(letter).toString(2).padStart(5, "0")).join("");
  return Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
}

function codeAt(secret, step) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac("sha1", decoded(secret)).update(counter).digest();
  const number = mac.readUInt32BE(mac.at(-1) & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

export class App {
  #last = 0;

  /** @param {string} secret base32, with or without spaces */
  constructor(secret) {
    this.secret = secret.replace(/\s/g, "");
  }

  /**
   * The next code that a server takes: each is good once. A server takes that of the step after its own as well,
   * so two of them need no waiting.
   */
  async code() {
    const step = Math.max(Math.floor(Date.now() / STEP), this.#last + 1);
    this.#last = step;
    await sleep(Math.max(0, (step - 1) * STEP - Date.now()));
    return codeAt(this.secret, step);
  }

  /** A code that no server takes now. */
  wrongCode() {
    const now = Math.floor(Date.now() / STEP);
    const good = [-2, -1, 0, 1, 2].map((step) => codeAt(this.secret, now + step));
    return ["000000", "111111", "222222", "333333", "444444", "555555"].find((code) => !good.includes(code));
  }
}
