/* The limit of fan-out: one process writes the same frame to the same number of sockets.
 *
 * cwrite CONNECTIONS FRAME_FILE INTERVAL_MS SECONDS CORE
 * Prints {"port":N}, takes that many connections, writes to all of them every interval, and prints
 * {"writes":N,"cpu":seconds,"short":N}. A core below 0 leaves the process where it is.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

static double monotonic(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void rest_until(double when) {
  double left = when - monotonic();
  if (left <= 0) return;
  struct timespec t = {(time_t)left, (long)((left - (time_t)left) * 1e9)};
  nanosleep(&t, NULL);
}

static int listen_anywhere(int *port) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 4096) ||
      getsockname(fd, (struct sockaddr *)&at, &size))
    return -1;
  *port = ntohs(at.sin_port);
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  int count = atoi(argv[1]), core = atoi(argv[5]), port = 0;
  double interval = atof(argv[3]) / 1000, seconds = atof(argv[4]);
#ifdef __linux__
  if (core >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
  }
#endif
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  static char frame[1 << 20];
  FILE *file = fopen(argv[2], "rb");
  if (!file) return 3;
  size_t size = fread(frame, 1, sizeof frame, file);
  fclose(file);
  int *fds = calloc(count, sizeof *fds), listener = listen_anywhere(&port);
  if (listener < 0 || !fds) return 4;
  printf("{\"port\":%d}\n", port);
  fflush(stdout);
  for (int i = 0; i < count; i++) {
    int on = 1;
    fds[i] = accept(listener, NULL, NULL);
    if (fds[i] < 0) return 5;
    setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
  }
  long writes = 0, cut = 0;
  double next = monotonic() + 0.3, warm = next + 0.5, end = warm + seconds, used = -1;
  while (next < end) {
    rest_until(next);
    if (used < 0 && next >= warm) {
      used = cpu();
      writes = cut = 0;
    }
    for (int i = 0; i < count; i++) {
      ssize_t got = write(fds[i], frame, size);
      writes++;
      if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return 6;
      cut += got != (ssize_t)size;
    }
    next += interval;
  }
  printf("{\"writes\":%ld,\"cpu\":%.6f,\"short\":%ld}\n", writes, cpu() - used, cut);
  return 0;
}
