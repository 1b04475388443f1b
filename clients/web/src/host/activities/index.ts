/** Every activity of the desk, in the order in which it offers them. */

import { poll, quiz } from "./ask";
import type { Activity } from "./card";
import { draw } from "./draw";
import { coupon, redpacket } from "./gifts";
import { sale } from "./sale";
import { notice, segment } from "./word";

export const ACTIVITIES = [poll, quiz, draw, sale, coupon, redpacket, notice, segment] as readonly Activity[];
