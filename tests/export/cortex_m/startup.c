#include <stdint.h>
#include <stdlib.h>
extern uint32_t _stack_top;
extern void initialise_monitor_handles(void);
extern int main(void);
static void reset(void) {
  initialise_monitor_handles();
  exit(main());
}
__attribute__((section(".vectors"), used)) const void *const vectors[16] = {&_stack_top, (void *)reset};
void _init(void) {}
void _fini(void) {}
