/** Returns the value of a key, which is made for the first caller. */
export function made<K, V>(all: { get(key: K): V | undefined; set(key: K, value: V): unknown }, key: K, make: () => V): V {
  let value = all.get(key);
  if (!value) all.set(key, (value = make()));
  return value;
}
