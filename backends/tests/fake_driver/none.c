/* A driver without a GPU, as on a machine whose GPU was taken out. */
int cuInit(unsigned flags) { return flags ? 1 : 100; }
int cuDriverGetVersion(int *version) { *version = 12080; return 0; }
int cuDeviceGetCount(int *count) { *count = 0; return 0; }
int cuDeviceGet(int *device, int i) { return 101; }
int cuDeviceGetName(char *name, int length, int device) { return 101; }
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) { return 101; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { return 101; }
