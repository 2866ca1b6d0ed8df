/* Preloaded into the service: counts fsync and fdatasync in a shared file, and makes each of them slower if asked.
   BENCH_FSYNC_COUNT: path of a file of 8 bytes. BENCH_FSYNC_DELAY_US: microseconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int (*real_fsync)(int), (*real_fdatasync)(int);
static volatile uint64_t *count;
static useconds_t delay;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("BENCH_FSYNC_COUNT"), *wait = getenv("BENCH_FSYNC_DELAY_US");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    delay = wait ? (useconds_t)atoi(wait) : 0;
    int file = path ? open(path, O_RDWR) : -1;
    if (file >= 0) {
        void *page = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        count = page == MAP_FAILED ? NULL : page;
        close(file);
    }
}

static void note(void) {
    if (count) __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
    if (delay) usleep(delay);
}

int fsync(int fd) { note(); return real_fsync(fd); }
int fdatasync(int fd) { note(); return real_fdatasync(fd); }
