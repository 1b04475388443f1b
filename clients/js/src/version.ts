/** Name and version of this package, as `hello` tells them by default; a test compares them with package.json. */
export const NAME = "liveroom-client/0.1.0";
