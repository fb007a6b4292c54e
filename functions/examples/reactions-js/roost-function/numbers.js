// Integers of the contract. A JavaScript number keeps integers of 53 bits exactly, and nothing larger is sent.

/** The number, if it is an integer that is exact. */
export function integer(number, what) {
  if (!Number.isSafeInteger(number)) {
    throw new RangeError(`${what} must be an integer between -2^53 and 2^53, not ${number}`);
  }
  return number;
}
