export { Client, RefusedError } from "./client.js";
export type { ClientOptions, ClientState, ClientEvents, SocketLike, SocketType } from "./client.js";
export { mintCommandId } from "./ids.js";
export * from "./frames.js";
