/** What both the viewers' page and the console read of the wire: docs/protocol.md. */

export interface Person {
  id: string;
  name: string;
  role?: string;
}

export interface RoomState {
  status: "open" | "closed";
  title: string;
  cover: string;
  stream?: string;
  tags?: string[];
  opened_ms: number;
}

export interface ModeState {
  talk: "all" | "hosts";
  like: boolean;
  gift: boolean;
}

/** How viewers may speak, by the moderation plugin. */
export interface ModState {
  slow_s: number;
  followers: boolean;
  level: number;
  emote_only: boolean;
  unique: boolean;
  filter: number;
}

export interface Sku {
  sku: string;
  title?: string;
  price: number;
  stock?: number;
}

export interface Item {
  item: string;
  title: string;
  link?: string;
  image?: string;
  label?: string;
  currency: string;
  skus: Sku[];
}

export interface ShelfState {
  items: string[];
  pinned: string | null;
}

export interface Question {
  question: number;
  user: Person;
  text: string;
  votes: number;
  asked_ms: number;
}

export interface QaState {
  open: number;
  top: Question[];
  answered: number;
  median_answer_ms?: number;
}
