// The public surface of `liveroom-client`.

export { closeOf, CLOSES, ERRORS, LOCAL_ERRORS, type Close } from "./codes.js";
export {
  newKey,
  type AskOptions,
  type Coupon,
  type GiftReply,
  type RankReply,
  type Reservation,
} from "./commands.js";
export { danmakuFeed, type Comment, type DanmakuFeedOptions, type Player } from "./danmaku-feed.js";
export type { BodyOf, Listener } from "./emitter.js";
export { CodecError, LiveError } from "./errors.js";
export { HostRoom, SideRoom, type RoomLook } from "./host.js";
export { connect, LiveRoom, type LiveOptions, type TokenSource } from "./live.js";
export type {
  Codec,
  DanmakuBody,
  EventBodies,
  EventItem,
  GiftBody,
  Greeting,
  Item,
  LiveState,
  Position,
  Role,
  RoomState,
  StateChange,
  StateItem,
  Status,
  User,
} from "./types.js";
