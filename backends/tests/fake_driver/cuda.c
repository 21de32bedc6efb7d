/* A driver that says it has two GPUs, and can do nothing else: for the tests of the probe. */
#include <string.h>
int cuInit(unsigned flags) { return flags != 0; }
int cuDriverGetVersion(int *version) { *version = 12080; return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int i) { *device = i; return i < 2 ? 0 : 101; }
int cuDeviceGetName(char *name, int length, int device) {
    strncpy(name, device ? "Old GPU" : "New GPU", length);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)(device ? 4 : 80) << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (attribute == 75) *value = device ? 6 : 9;
    else if (attribute == 76) *value = device ? 1 : 0;
    else return 1;
    return 0;
}
