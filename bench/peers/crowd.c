/* A crowd of WebSocket viewers on connections that were opened and greeted elsewhere.
 *
 * Every viewer reads everything: frames are walked, and each message is found by the time in its
 * text, `@` 19 digits `~` (nanoseconds of the monotonic clock), wherever a server puts the text. The
 * same loop sends messages at a rate, by the viewers in turn. Loaded with ctypes (crowd.py).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { STAMP = 21, EVENTS = 128, BUFFER = 1 << 18, TEXT_MAX = 4096, BUCKETS = 400000 };
static const int64_t BUCKET_NS = 100000; /* 0.1 ms; the last one holds all that is older */

struct viewer {
  int fd, head_n, carry_n;
  uint8_t head[10];
  char carry[STAMP];
  uint64_t skip; /* bytes of the present frame that are still to come */
};

struct totals {
  int64_t sent, frames, bytes, hits, marked_sent, marked_hits, closed, unsent, late_ns;
};

static struct viewer *viewers;
static int count, room, poller = -1, turn;
static struct totals total;
static int64_t marked_ns;
static uint32_t ages[BUCKETS];
static char seen[BUFFER]; /* the frame that the first viewer reads now, if it fits */
static char kept[BUFFER]; /* the last one that held a message */
static int seen_n, kept_n, seen_hits;

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Count the message whose time stands here; 0 if it is none. */
static int on_stamp(const char *at, int64_t now) {
  int64_t then = 0;
  for (int i = 1; i < STAMP - 1; i++) {
    if (at[i] < '0' || at[i] > '9') return 0;
    then = then * 10 + (at[i] - '0');
  }
  if (at[STAMP - 1] != '~') return 0;
  total.hits++;
  if (then < marked_ns) return 1;
  total.marked_hits++;
  int64_t bucket = (now - then) / BUCKET_NS;
  ages[bucket < 0 ? 0 : bucket < BUCKETS ? bucket : BUCKETS - 1]++;
  return 1;
}

static int scan(struct viewer *v, const char *data, int64_t n, int64_t now) {
  int hits = 0;
  if (v->carry_n) {
    int64_t more = STAMP - v->carry_n < n ? STAMP - v->carry_n : n;
    memcpy(v->carry + v->carry_n, data, more);
    v->carry_n += more;
    if (v->carry_n < STAMP) return 0;
    hits += on_stamp(v->carry, now);
    v->carry_n = 0;
  }
  const char *end = data + n, *at = data;
  while (at < end && (at = memchr(at, '@', end - at))) {
    if (end - at < STAMP) {
      v->carry_n = end - at;
      memcpy(v->carry, at, v->carry_n);
      break;
    }
    hits += on_stamp(at++, now);
  }
  return hits;
}

static void keep(const char *data, int64_t n) {
  if (seen_n + n <= BUFFER) memcpy(seen + seen_n, data, n);
  seen_n = seen_n + n <= BUFFER ? seen_n + n : BUFFER + 1;
}

static void frame_done(void) {
  if (seen_hits && seen_n <= BUFFER) memcpy(kept, seen, kept_n = seen_n);
  seen_n = seen_hits = 0;
}

static void take(struct viewer *v, const char *data, int64_t n) {
  static const uint8_t pong[6] = {0x8a, 0x80};
  int64_t now = now_ns();
  int first = v == viewers;
  total.bytes += n;
  while (n > 0) {
    if (v->skip) {
      int64_t piece = (int64_t)v->skip < n ? (int64_t)v->skip : n;
      int hits = scan(v, data, piece, now);
      if (first) {
        keep(data, piece);
        seen_hits += hits;
      }
      data += piece;
      n -= piece;
      v->skip -= piece;
      if (!v->skip && first) frame_done();
      continue;
    }
    v->head[v->head_n++] = *data++;
    n--;
    int small = v->head_n > 1 ? v->head[1] & 0x7f : 0;
    int size = small == 126 ? 4 : small == 127 ? 10 : 2;
    if (v->head_n < size) continue;
    uint64_t length = size == 2 ? small : 0;
    for (int i = 2; i < size; i++) length = length << 8 | v->head[i];
    total.frames++;
    if ((v->head[0] & 0x0f) == 9 && send(v->fd, pong, 6, MSG_NOSIGNAL) != 6) total.unsent++;
    if (first) keep((char *)v->head, size);
    v->head_n = 0;
    v->skip = length;
    if (!length && first) frame_done();
  }
}

static void gone(struct viewer *v) {
  total.closed++;
  epoll_ctl(poller, EPOLL_CTL_DEL, v->fd, NULL);
  v->fd = -1;
}

static void read_from(struct viewer *v) {
  static char buffer[BUFFER];
  ssize_t n = recv(v->fd, buffer, sizeof buffer, 0);
  if (n > 0) take(v, buffer, n);
  else if (n == 0 || (errno != EAGAIN && errno != EINTR)) gone(v);
}

static void say(const char *text, int size, int stamp_at) {
  char message[TEXT_MAX];
  struct viewer *v = &viewers[turn++ % count];
  if (v->fd < 0) {
    total.unsent++;
    return;
  }
  memcpy(message, text, size);
  int64_t now = now_ns();
  for (int i = STAMP - 2; i >= 1; i--, now /= 10) message[stamp_at + i] = '0' + now % 10;
  if (send(v->fd, message, size, MSG_NOSIGNAL) == size) {
    total.sent++;
    total.marked_sent++;
  } else {
    total.unsent++;
  }
}

/* Take a greeted connection and what came behind its greeting. */
int crowd_add(int fd, const char *rest, int n) {
  if (poller < 0) poller = epoll_create1(0);
  if (count == room) {
    /* The poller holds indexes, so the array may move. */
    room = room ? room * 2 : 1024;
    viewers = realloc(viewers, room * sizeof *viewers);
    if (!viewers) return -1;
  }
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = count};
  struct viewer *v = &viewers[count++];
  memset(v, 0, sizeof *v);
  v->fd = fd;
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  take(v, rest, n);
  return epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

/* Forget all connections; the caller closes them. */
void crowd_clear(void) {
  if (poller >= 0) close(poller);
  poller = -1;
  count = turn = kept_n = seen_n = seen_hits = 0;
  memset(&total, 0, sizeof total);
  memset(ages, 0, sizeof ages);
}

/* Begin a window: only messages sent from now on are in the ages and the marked counts. */
void crowd_mark(void) {
  marked_ns = now_ns();
  total.marked_sent = total.marked_hits = total.late_ns = 0;
  memset(ages, 0, sizeof ages);
}

/* Read for so long, or until so many marked messages came; send `text` so often per second. */
void crowd_run(double seconds, double rate, int64_t until, const char *text, int size, int stamp_at) {
  struct epoll_event events[EVENTS];
  int64_t began = now_ns(), end = began + (int64_t)(seconds * 1e9), sent = 0, now;
  while ((now = now_ns()) < end && (until < 0 || total.marked_hits < until)) {
    int64_t due = rate > 0 ? (int64_t)((now - began) / 1e9 * rate) : 0;
    if (sent < due && rate > 0) {
      int64_t late = now - began - (int64_t)((sent + 1) / rate * 1e9);
      if (late > total.late_ns) total.late_ns = late;
    }
    for (; sent < due; sent++) say(text, size, stamp_at);
    int n = epoll_wait(poller, events, EVENTS, 1);
    for (int i = 0; i < n; i++) read_from(&viewers[events[i].data.u32]);
  }
}

void crowd_totals(struct totals *to) { *to = total; }

/* Return the age in seconds below which this share of the marked messages is. */
double crowd_age(double share) {
  uint64_t all = 0, below = 0;
  for (int i = 0; i < BUCKETS; i++) all += ages[i];
  if (!all) return -1;
  for (int i = 0; i < BUCKETS; i++)
    if ((below += ages[i]) >= share * all && ages[i]) return (i + 0.5) * BUCKET_NS / 1e9;
  return BUCKETS * (double)BUCKET_NS / 1e9;
}

int crowd_frame(char *to) {
  memcpy(to, kept, kept_n);
  return kept_n;
}
