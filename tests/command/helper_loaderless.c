/* helper_loaderless.c - a program without a loader. */
int main(void)
{
    return 3;
}
