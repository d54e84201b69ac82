/* The wall clock of one process, moved by a file.
 *
 * Preloaded into the services of a chaos run: what they read as the time of day is the machine's
 * plus the nanoseconds that stand, as one int64, in $TRADEWIND_CHAOS_CLOCKS/$TRADEWIND_PORT.
 * Monotonic clocks are left alone, as they are when somebody sets a machine's clock.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t NS = 1000000000;
static volatile int64_t *offset;
static int (*machine)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    machine = dlsym(RTLD_NEXT, "clock_gettime");
    const char *folder = getenv("TRADEWIND_CHAOS_CLOCKS"), *port = getenv("TRADEWIND_PORT");
    char path[4096];
    if (folder == NULL || port == NULL) return;
    snprintf(path, sizeof path, "%s/%s", folder, port);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return;
    if (ftruncate(file, sizeof *offset) == 0) {
        void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
        if (page != MAP_FAILED) offset = page;
    }
    close(file);
}

int clock_gettime(clockid_t which, struct timespec *now) {
    if (machine == NULL) machine = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = machine(which, now);
    if (failed || offset == NULL || *offset == 0) return failed;
    if (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE) {
        int64_t ns = (int64_t)now->tv_sec * NS + now->tv_nsec + *offset;
        now->tv_sec = ns / NS;
        now->tv_nsec = ns % NS;
    }
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec moment;
    if (clock_gettime(CLOCK_REALTIME, &moment)) return -1;
    now->tv_sec = moment.tv_sec;
    now->tv_usec = moment.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec moment;
    if (clock_gettime(CLOCK_REALTIME, &moment)) return (time_t)-1;
    if (out != NULL) *out = moment.tv_sec;
    return moment.tv_sec;
}
