/* Tracks which part of a folder's data would survive a power cut now.
 *
 * Loaded with LD_PRELOAD into every process that writes a watched folder. A write goes to the file as usual, and its pages
 * are recorded. A sync copies the recorded pages into an image of the file, and only that makes content durable. Names
 * are tracked separately from files, as on a disk: each creation, renaming and removal is appended to a log, and a sync of
 * a folder stores up to where that log is durable for it. src/lib.rs starts a watch and cuts the power.
 *
 * All processes share these records, as they share the page cache: one process may write and another may sync. No function
 * here calls one that it replaces; each makes the system call itself.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#if !defined(__linux__) || !defined(__LP64__)
#error "only 64-bit Linux: the arguments of the system calls differ elsewhere"
#endif

enum { PAGE = 4096, SLOTS = 1 << 14 };
/* Kinds of an inode. WRITTEN_UNSEEN is added once it is written through memory or stdio. */
enum { FILE_KIND = 1, FOLDER_KIND = 2, WRITTEN_UNSEEN = 4 };
/* Models. */
enum { SYNC_LIES = 1, FILE_SYNC_KEEPS_NAMES = 2 };

/* The same layout as in src/table.rs. */
struct slot {
    _Atomic uint64_t inode;
    /* For a file: first page << 32 | page after the last one, of the pages written since a sync; 0 if none.
       For a folder: the length of the log that is durable for its names. */
    _Atomic uint64_t state;
    /* Pages that a sync in progress has taken; protected by the lock of the image. */
    uint64_t taken;
    _Atomic uint64_t kind;
};

struct disk {
    uint64_t magic, device, sync_us, model, unused[4];
    struct slot slots[SLOTS];
};

static const uint64_t MAGIC = 0x313052455750;
static struct disk *disk;
static char shadow[PATH_MAX - 64];

static void die(const char *what) {
    char text[256];
    int length = snprintf(text, sizeof text, "power-loss: %s: %s\n", what, strerror(errno));
    syscall(SYS_write, 2, text, (size_t)length);
    abort();
}

static int open_in(const char *folder, uint64_t inode, int flags) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s/%llu", shadow, folder, (unsigned long long)inode);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("POWER_LOSS_DISK");
    if (folder == NULL) return;
    if (snprintf(shadow, sizeof shadow, "%s", folder) >= (int)sizeof shadow) die("POWER_LOSS_DISK is too long");
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/table", shadow);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) die(path);
    void *at = (void *)syscall(SYS_mmap, NULL, sizeof *disk, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) die(path);
    close(fd);
    disk = at;
    if (disk->magic != MAGIC) die("the table is of another version");
}

/* The slot of an inode, or the free slot where it belongs. */
static struct slot *place(uint64_t inode) {
    uint64_t at = (inode * 0x9E3779B97F4A7C15u) >> 50;
    for (int probes = 0; probes < SLOTS; probes++, at = (at + 1) % SLOTS) {
        uint64_t found = atomic_load(&disk->slots[at].inode);
        if (found == inode || found == 0) return &disk->slots[at];
    }
    errno = ENOSPC;
    die("the table has no room for more files");
    return NULL;
}

static struct slot *watched(const struct stat *stat) {
    if (stat->st_dev != disk->device) return NULL;
    struct slot *slot = place(stat->st_ino);
    return atomic_load(&slot->inode) == stat->st_ino ? slot : NULL;
}

static struct slot *watch(uint64_t inode, uint64_t kind, uint64_t state) {
    for (;;) {
        struct slot *slot = place(inode);
        uint64_t none = 0;
        if (atomic_compare_exchange_strong(&slot->inode, &none, inode) || none == inode) {
            atomic_store(&slot->state, state);
            atomic_store(&slot->kind, kind);
            return slot;
        }
    }
}

static struct slot *watched_fd(int fd) {
    struct stat stat;
    if (disk == NULL || fd < 0 || fstat(fd, &stat) != 0) return NULL;
    return S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode) ? watched(&stat) : NULL;
}

/* Content. */

static uint64_t both(uint64_t one, uint64_t other) {
    if (one == 0 || other == 0) return one | other;
    uint64_t first = one >> 32 < other >> 32 ? one >> 32 : other >> 32;
    uint64_t end = (uint32_t)one > (uint32_t)other ? (uint32_t)one : (uint32_t)other;
    return first << 32 | end;
}

/* Must be called after the write: a sync in between would take the record and miss the bytes. */
static void note_bytes(struct slot *slot, uint64_t from, uint64_t to) {
    uint64_t first = from / PAGE, end = to > UINT64_MAX - PAGE ? UINT32_MAX : (to + PAGE - 1) / PAGE;
    if (end > UINT32_MAX) end = UINT32_MAX;
    if (first >= end) return;
    uint64_t before = atomic_load(&slot->state);
    while (!atomic_compare_exchange_weak(&slot->state, &before, both(before, first << 32 | end))) {}
}

static void pass_time(void) {
    struct timespec left = {(time_t)(disk->sync_us / 1000000), (long)(disk->sync_us % 1000000) * 1000};
    while (disk->sync_us > 0 && nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

/* Makes durable the content that the file had when the sync began; it is durable only when the sync ends. */
static void sync_content(struct slot *slot) {
    uint64_t inode = atomic_load(&slot->inode);
    int image = open_in("synced", inode, O_RDWR | O_CREAT), file = open_in("held", inode, O_RDONLY);
    if (image < 0 || file < 0) die("no image of a file");
    /* A concurrent sync returns after this one. The kernel releases the lock when a process is killed. */
    while (flock(image, LOCK_EX) != 0) if (errno != EINTR) die("no lock");
    uint64_t pages = slot->taken = both(slot->taken, atomic_exchange(&slot->state, 0));
    if (atomic_load(&slot->kind) & WRITTEN_UNSEEN) pages = UINT32_MAX;
    struct stat now;
    if (fstat(file, &now) != 0) die("no size of a file");
    uint64_t from = (pages >> 32) * PAGE, to = (uint64_t)(uint32_t)pages * PAGE;
    if (to > (uint64_t)now.st_size) to = (uint64_t)now.st_size;
    size_t length = to > from ? to - from : 0, done = 0;
    struct stat kept;
    if (fstat(image, &kept) != 0) die("no size of an image");
    /* A sync with nothing to write takes no time: PostgreSQL syncs all its files when it recovers. */
    int idle = length == 0 && kept.st_size == now.st_size;
    char *bytes = malloc(length + 1);
    if (bytes == NULL) die("no memory");
    while (done < length) {
        ssize_t count = pread(file, bytes + done, length - done, (off_t)(from + done));
        if (count < 0 && errno != EINTR) die("a file cannot be read");
        if (count == 0) break; /* It was cut off meanwhile. */
        if (count > 0) done += (size_t)count;
    }
    if (!idle) pass_time();
    for (size_t written = 0; written < done;) {
        long count = syscall(SYS_pwrite64, image, bytes + written, done - written, from + written);
        if (count < 0) die("an image cannot be written");
        written += (size_t)count;
    }
    if (syscall(SYS_ftruncate, image, now.st_size) != 0) die("an image cannot be written");
    slot->taken = 0;
    free(bytes);
    close(file);
    close(image);
}

static uint64_t log_length(void) {
    char path[PATH_MAX];
    struct stat stat;
    snprintf(path, sizeof path, "%s/log", shadow);
    if (fstatat(AT_FDCWD, path, &stat, 0) != 0) die("no log of names");
    return (uint64_t)stat.st_size;
}

static void names_are_durable(struct slot *folder, uint64_t length) {
    uint64_t before = atomic_load(&folder->state);
    while (before < length && !atomic_compare_exchange_weak(&folder->state, &before, length)) {}
}

/* The folder in which an open file currently has its name. */
static struct slot *folder_of(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return NULL;
    path[length] = 0;
    char *slash = strrchr(path, '/');
    if (slash == NULL) return NULL;
    *slash = 0;
    struct stat stat;
    return fstatat(AT_FDCWD, path, &stat, 0) == 0 ? watched(&stat) : NULL;
}

/* True if the file is watched, and the real call must be skipped. */
static int synced(int fd) {
    int error = errno;
    struct slot *slot = watched_fd(fd);
    if (slot == NULL) return 0;
    if (disk->model & SYNC_LIES) {
        pass_time();
    } else if (atomic_load(&slot->kind) == FOLDER_KIND) {
        uint64_t length = log_length();
        if (atomic_load(&slot->state) < length) pass_time();
        names_are_durable(slot, length);
    } else {
        uint64_t length = log_length();
        struct slot *folder = disk->model & FILE_SYNC_KEEPS_NAMES ? folder_of(fd) : NULL;
        sync_content(slot);
        if (folder != NULL) names_are_durable(folder, length);
    }
    errno = error;
    return 1;
}

/* Called after bytes were written. */
static void wrote(int fd, off_t from, ssize_t count) {
    int error = errno;
    struct slot *slot = count > 0 ? watched_fd(fd) : NULL;
    if (slot != NULL) {
        if (from < 0) from = lseek(fd, 0, SEEK_CUR) - count;
        note_bytes(slot, (uint64_t)from, (uint64_t)(from + count));
        int flags = fcntl(fd, F_GETFL);
        if (flags >= 0 && (flags & O_DSYNC)) synced(fd);
    }
    errno = error;
}

static void written_unseen(int fd) {
    int error = errno;
    struct slot *slot = watched_fd(fd);
    if (slot != NULL) atomic_fetch_or(&slot->kind, WRITTEN_UNSEEN);
    errno = error;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    ssize_t count = syscall(SYS_write, fd, bytes, length);
    wrote(fd, -1, count);
    return count;
}

ssize_t writev(int fd, const struct iovec *parts, int number) {
    ssize_t count = syscall(SYS_writev, fd, parts, number);
    wrote(fd, -1, count);
    return count;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t from) {
    ssize_t count = syscall(SYS_pwrite64, fd, bytes, length, from);
    wrote(fd, from, count);
    return count;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t from) { return pwrite64(fd, bytes, length, from); }

ssize_t pwritev64(int fd, const struct iovec *parts, int number, off_t from) {
    ssize_t count = syscall(SYS_pwritev, fd, parts, number, from, 0);
    wrote(fd, from, count);
    return count;
}

ssize_t pwritev(int fd, const struct iovec *parts, int number, off_t from) {
    return pwritev64(fd, parts, number, from);
}

int ftruncate64(int fd, off_t length) {
    int result = (int)syscall(SYS_ftruncate, fd, length), error = errno;
    struct slot *slot = result == 0 ? watched_fd(fd) : NULL;
    if (slot != NULL) note_bytes(slot, (uint64_t)length, UINT64_MAX);
    errno = error;
    return result;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int truncate64(const char *path, off_t length) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return -1;
    int result = ftruncate64(fd, length), error = errno;
    close(fd);
    errno = error;
    return result;
}

int truncate(const char *path, off_t length) { return truncate64(path, length); }

int fallocate64(int fd, int mode, off_t from, off_t length) {
    int result = (int)syscall(SYS_fallocate, fd, mode, from, length), error = errno;
    struct slot *slot = result == 0 ? watched_fd(fd) : NULL;
    if (slot != NULL) note_bytes(slot, (uint64_t)from, mode == 0 ? (uint64_t)(from + length) : UINT64_MAX);
    errno = error;
    return result;
}

int fallocate(int fd, int mode, off_t from, off_t length) { return fallocate64(fd, mode, from, length); }

int posix_fallocate64(int fd, off_t from, off_t length) {
    int error = errno, result = fallocate64(fd, 0, from, length) == 0 ? 0 : errno;
    errno = error;
    return result;
}

int posix_fallocate(int fd, off_t from, off_t length) { return posix_fallocate64(fd, from, length); }

void *mmap64(void *at, size_t length, int protection, int flags, int fd, off_t from) {
    void *place = (void *)syscall(SYS_mmap, at, length, protection, flags, fd, from);
    if (place != MAP_FAILED && (protection & PROT_WRITE) && (flags & MAP_SHARED) && fd >= 0) written_unseen(fd);
    return place;
}

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t from) {
    return mmap64(at, length, protection, flags, fd, from);
}

int fsync(int fd) { return synced(fd) ? 0 : (int)syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return synced(fd) ? 0 : (int)syscall(SYS_fdatasync, fd); }

/* Names. */

/* The watched folder that contains a path, or NULL; its last component is copied to `name`. */
static struct slot *parent(int at, const char *path, char *name) {
    if (disk == NULL || path == NULL) return NULL;
    char folder[PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof folder) return NULL;
    memcpy(folder, path, length + 1);
    while (length > 1 && folder[length - 1] == '/') folder[--length] = 0;
    char *slash = strrchr(folder, '/');
    const char *last = slash == NULL ? folder : slash + 1;
    if (strlen(last) > NAME_MAX) return NULL;
    strcpy(name, last);
    if (slash != NULL) *(slash == folder ? slash + 1 : slash) = 0;
    struct stat stat;
    int error = errno;
    int found = fstatat(at, slash == NULL ? "." : folder, &stat, 0) == 0;
    errno = error;
    struct slot *slot = found ? watched(&stat) : NULL;
    return slot != NULL && atomic_load(&slot->kind) == FOLDER_KIND ? slot : NULL;
}

/* Locks the log before a name changes. It is unlocked after the change is recorded, so the log has the order of changes. */
static int lock_log(void) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/log", shadow);
    int log = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    if (log < 0) die("no log of names");
    while (flock(log, LOCK_EX) != 0) if (errno != EINTR) die("no lock");
    return log;
}

static void note(int log, const char *format, ...) {
    char line[2 * NAME_MAX + 128];
    va_list rest;
    va_start(rest, format);
    int length = vsnprintf(line, sizeof line, format, rest);
    va_end(rest);
    if (syscall(SYS_write, log, line, (size_t)length) != length) die("the log of names cannot be written");
}

static unsigned long long number(struct slot *slot) { return atomic_load(&slot->inode); }

/* Keeps a removed file through a second name, so that its inode number is not reused. */
static void hold(int at, const char *path, uint64_t inode) {
    char second[PATH_MAX];
    snprintf(second, sizeof second, "%s/held/%llu", shadow, (unsigned long long)inode);
    if (syscall(SYS_linkat, at, path, AT_FDCWD, second, 0) != 0) die("a file cannot be held");
    watch(inode, FILE_KIND, 0);
}

static int open_at(int at, const char *path, int flags, mode_t mode) {
    char name[NAME_MAX + 1];
    struct slot *folder = flags & O_CREAT ? parent(at, path, name) : NULL;
    if (folder == NULL) {
        int fd = (int)syscall(SYS_openat, at, path, flags, mode), error = errno;
        struct slot *slot = fd >= 0 && (flags & O_TRUNC) ? watched_fd(fd) : NULL;
        if (slot != NULL) note_bytes(slot, 0, UINT64_MAX);
        errno = error;
        return fd;
    }
    int log = lock_log();
    struct stat stat;
    int existed = fstatat(at, path, &stat, 0) == 0;
    int fd = (int)syscall(SYS_openat, at, path, flags, mode), error = errno;
    if (fd >= 0 && fstat(fd, &stat) == 0) {
        struct slot *slot = existed ? watched(&stat) : NULL;
        if (slot != NULL && (flags & O_TRUNC)) note_bytes(slot, 0, UINT64_MAX);
        if (!existed) {
            hold(at, path, stat.st_ino);
            note(log, "+ %llu %llu 0 %s\n", number(folder), (unsigned long long)stat.st_ino, name);
        }
    }
    close(log);
    errno = error;
    return fd;
}

static mode_t mode_of(int flags, va_list rest) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, mode_t) : 0;
}

#define OPENS(name, first, at)                                                                                        \
    int name(first const char *path, int flags, ...) {                                                                \
        va_list rest;                                                                                                 \
        va_start(rest, flags);                                                                                        \
        mode_t mode = mode_of(flags, rest);                                                                           \
        va_end(rest);                                                                                                 \
        return open_at(at, path, flags, mode);                                                                        \
    }
#define AND_FOLDER int at,
OPENS(open, , AT_FDCWD)
OPENS(open64, , AT_FDCWD)
OPENS(openat, AND_FOLDER, at)
OPENS(openat64, AND_FOLDER, at)

int __open_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* The C library opens and writes internally. So the file is created here first, and all of it counts as written. */
FILE *fopen64(const char *path, const char *mode) {
    static FILE *(*next)(const char *, const char *);
    if (next == NULL) next = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen64");
    if (disk != NULL && mode[0] != 'r') {
        int fd = open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_CLOEXEC | (mode[0] == 'w' ? O_TRUNC : 0), 0666);
        if (fd < 0) return NULL;
        close(fd);
    }
    FILE *file = next(path, mode);
    if (file != NULL && (mode[0] != 'r' || strchr(mode, '+') != NULL)) written_unseen(fileno(file));
    return file;
}

FILE *fopen(const char *path, const char *mode) { return fopen64(path, mode); }

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    char old[NAME_MAX + 1], new[NAME_MAX + 1];
    struct slot *source = parent(from_at, from, old), *target = parent(to_at, to, new);
    if (source == NULL && target == NULL) return (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    if (source == NULL || target == NULL || (flags & RENAME_EXCHANGE)) {
        errno = ENOTSUP;
        die("a file is moved into the watched folder, or out of it, or exchanged");
    }
    int log = lock_log();
    struct stat stat;
    int known = fstatat(from_at, from, &stat, AT_SYMLINK_NOFOLLOW) == 0;
    int result = (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags), error = errno;
    if (result == 0 && known) {
        unsigned long long inode = stat.st_ino;
        note(log, "> %llu %llu %llu %s/%s\n", number(source), inode, number(target), old, new);
    }
    close(log);
    errno = error;
    return result;
}

int renameat(int from_at, const char *from, int to_at, const char *to) { return renameat2(from_at, from, to_at, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int at, const char *path, int flags) {
    char name[NAME_MAX + 1];
    struct slot *folder = parent(at, path, name);
    if (folder == NULL) return (int)syscall(SYS_unlinkat, at, path, flags);
    int log = lock_log();
    int result = (int)syscall(SYS_unlinkat, at, path, flags), error = errno;
    if (result == 0) note(log, "- %llu 0 0 %s\n", number(folder), name);
    close(log);
    errno = error;
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int remove(const char *path) {
    int result = unlink(path);
    return result != 0 && errno == EISDIR ? rmdir(path) : result;
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    char name[NAME_MAX + 1];
    struct slot *folder = parent(to_at, to, name);
    if (folder == NULL) return (int)syscall(SYS_linkat, from_at, from, to_at, to, flags);
    int log = lock_log();
    int result = (int)syscall(SYS_linkat, from_at, from, to_at, to, flags), error = errno;
    struct stat stat;
    if (result == 0 && fstatat(to_at, to, &stat, AT_SYMLINK_NOFOLLOW) == 0) {
        if (watched(&stat) == NULL) die("a file from elsewhere is linked into the watched folder");
        note(log, "+ %llu %llu 0 %s\n", number(folder), (unsigned long long)stat.st_ino, name);
    }
    close(log);
    errno = error;
    return result;
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int mkdirat(int at, const char *path, mode_t mode) {
    char name[NAME_MAX + 1];
    struct slot *folder = parent(at, path, name);
    if (folder == NULL) return (int)syscall(SYS_mkdirat, at, path, mode);
    int log = lock_log();
    int result = (int)syscall(SYS_mkdirat, at, path, mode), error = errno;
    struct stat stat;
    if (result == 0 && fstatat(at, path, &stat, 0) == 0) {
        note(log, "d %llu %llu 0 %s\n", number(folder), (unsigned long long)stat.st_ino, name);
        /* Its future names are not durable yet. */
        watch(stat.st_ino, FOLDER_KIND, log_length());
    }
    close(log);
    errno = error;
    return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
