/* The workload of the depopulation series: N groups of M each; then those M are removed. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char name[256];
	int create, groups, members;

	if (argc != 5)
		return 2;
	create = argv[1][0] == 'c';
	groups = atoi(argv[3]);
	members = atoi(argv[4]);
	for (int i = 0; i < groups; i++) {
		snprintf(name, sizeof(name), "%s/g%d", argv[2], i);
		if (create && mkdir(name, 0755))
			perror(name);
		for (int j = 0; j < members; j++) {
			snprintf(name, sizeof(name), "%s/g%d_%d", argv[2], i, j);
			if (create ? mkdir(name, 0755) : rmdir(name))
				perror(name);
		}
	}
	return 0;
}
