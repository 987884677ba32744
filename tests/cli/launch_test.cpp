// The ways to start a run of several processes, each with real processes, and what becomes of a run
// when one of its processes fails.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <future>

#include "evomoe/parallel/process_group.h"
#include "evomoe/report/run_log.h"
#include "tests/cli/commands_fixture.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

bool is_on_path(const std::string& program) {
  return testing::run_command("command -v " + program).exit_code == 0;
}

/// The numbers in a file of /proc.
std::vector<int> children_of(int process) {
  std::ifstream stream(fmt::format("/proc/{0}/task/{0}/children", process));
  std::vector<int> children;
  for (int child = 0; stream >> child;) children.push_back(child);
  return children;
}

/// A socket that listens on a port of this machine.
class Listener {
 public:
  Listener() : descriptor_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    socklen_t size = sizeof(address);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(descriptor_, any, size), 0);
    EXPECT_EQ(listen(descriptor_, 1), 0);
    EXPECT_EQ(getsockname(descriptor_, any, &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~Listener() { close(descriptor_); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  int port() const { return port_; }

 private:
  int descriptor_, port_ = 0;
};

/// One that nobody listens on now.
int free_port() { return Listener().port(); }

class Launch : public Commands {
 protected:
  void SetUp() override {
    EVOMOE_NEEDS_RANKS();
    Commands::SetUp();
  }

  /// 12 updates, of which two ranks make a half each.
  std::string arguments(const std::string& run) const {
    return train_arguments(run) + "--max-update 12 --distributed-timeout 60 ";
  }
  static std::string ranks(int count) { return fmt::format("--distributed-world-size {} ", count); }
  static std::string tcp(int port, const std::string& host = "127.0.0.1") {
    return fmt::format("--distributed-init-method tcp://{}:{} ", host, port);
  }
  std::string file(const std::string& name) const {
    return fmt::format("--distributed-init-method file://{} ", (folder_ / name).string());
  }

  /// Runs lines of the shell, in which $E is the program; it is expected to end with `code`.
  testing::CommandResult shell(const std::string& script, int code = 0) const {
    auto result =
        testing::run_command(fmt::format("E={}\n{}", testing::program().string(), script));
    EXPECT_EQ(result.exit_code, code) << script << "\n" << result.out << result.err;
    return result;
  }
  /// Both at the same time; the exit code is the first one's.
  testing::CommandResult both(const std::string& first, const std::string& second,
                              int code = 0) const {
    return shell(fmt::format("({}) & other=$!\n({})\ncode=$?\nwait $other || code=$?\nexit $code",
                             second, first),
                 code);
  }

  /// The run that this program starts itself.
  void expect_as_own(const std::string& run, int count = 2) {
    if (!fs::exists(folder_ / "own")) shell("$E " + arguments("own") + ranks(count));
    EXPECT_TRUE(model_file(run) == model_file("own")) << run << " ends with other weights";
  }

  /// Begins it, and waits until its log has some lines.
  std::future<testing::CommandResult> start(const std::string& command, const std::string& run) {
    const auto line =
        fmt::format("sh -c 'echo $$ > {}; exec {}'", (folder_ / "pid").string(), command);
    auto result = std::async(std::launch::async, [line] { return testing::run_command(line); });
    wait_for_lines(result, run, 2000);
    return result;
  }
  void wait_for_lines(std::future<testing::CommandResult>& result, const std::string& run,
                      size_t bytes) {
    const auto log = folder_ / (run + "/log.jsonl");
    std::error_code absent;
    while (fs::file_size(log, absent) < bytes || absent) {
      if (result.wait_for(std::chrono::milliseconds(10)) == std::future_status::ready) break;
    }
  }
  /// That of start().
  int process() const { return std::stoi(testing::read_text(folder_ / "pid")); }
};

TEST_F(Launch, ByHandOverTcp) {
  const auto meet = ranks(2) + tcp(free_port());
  both("$E " + arguments("run") + meet + "--distributed-rank 0",
       "$E " + arguments("run") + meet + "--distributed-rank 1");
  expect_as_own("run");
}

TEST_F(Launch, ByHandOverAFile) {
  const auto meet = ranks(2) + file("meet");
  both("$E " + arguments("run") + meet + "--distributed-rank 0",
       "$E " + arguments("run") + meet + "--distributed-rank 1");
  expect_as_own("run");
}

TEST_F(Launch, ByHandWithSeveralProcessesAMachine) {
  const auto meet = ranks(4) + tcp(free_port()) + "--distributed-num-procs 2 ";
  both("$E " + arguments("run") + meet + "--distributed-rank 0",
       "$E " + arguments("run") + meet + "--distributed-rank 2");
  expect_as_own("run", 4);
}

TEST_F(Launch, ByTheVariablesOfMpiAndSlurm) {
  struct Case {
    std::string name, variables, rank;
  };
  const std::vector<Case> cases = {
      {"openmpi", "OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_SIZE=2", "OMPI_COMM_WORLD_RANK"},
      {"mpich", "PMI_SIZE=2 MPI_LOCALNRANKS=2", "PMI_RANK"},
      {"slurm", "SLURM_NTASKS=2 SLURM_NODELIST=localhost SLURM_NTASKS_PER_NODE=2", "SLURM_PROCID"}};
  for (const auto& by : cases) {
    const auto port = free_port();
    // Slurm names the host itself.
    const auto meet = by.name == "slurm" ? fmt::format("--distributed-port {} ", port) : tcp(port);
    const auto command = [&](int number) {
      return fmt::format("env {} {}={} $E {}", by.variables, by.rank, number,
                         arguments(by.name) + meet);
    };
    both(command(0), command(1));
    expect_as_own(by.name);
  }
}

TEST_F(Launch, ByMpirun) {
  int tried = 0;
  for (const auto& [program, flags] : std::vector<std::pair<std::string, std::string>>{
           {"mpirun.openmpi", "--allow-run-as-root --oversubscribe"}, {"mpirun.mpich", ""}}) {
    if (!is_on_path(program)) continue;
    ++tried;
    const auto port = free_port();
    shell(fmt::format("{} {} -np 2 $E {}", program, flags, arguments(program) + tcp(port)));
    expect_as_own(program);
  }
  if (tried == 0) GTEST_SKIP() << "no mpirun (apt-get install openmpi-bin, or mpich)";
}

class Torchrun : public Launch {
 protected:
  void SetUp() override {
    if (!fs::exists(program_))
      GTEST_SKIP() << program_ << " is not there (pip install torch into .venv)";
    Launch::SetUp();
  }
  std::string torchrun(const std::string& flags) const {
    return fmt::format("{} --no-python --nproc-per-node 2 --master-port {} {} {} ",
                       program_.string(), free_port(), flags, testing::program().string());
  }
  fs::path program_ = testing::python().parent_path() / "torchrun";
};

TEST_F(Torchrun, StartsTheRanks) {
  shell(torchrun("") + arguments("run"));
  expect_as_own("run");
}

TEST_F(Torchrun, StartsThemAgainAfterOneWasKilled) {
  const auto longer =
      "--max-update 150 --log-interval 1 --save-interval-updates 5 "
      "--no-epoch-checkpoints --disable-validation ";
  shell("$E " + arguments("own") + ranks(2) + longer);
  auto run = start(torchrun("--max-restarts 2") + arguments("run") + longer, "run");
  const auto of_it = children_of(process());
  ASSERT_FALSE(of_it.empty());
  kill(of_it.back(), SIGKILL);
  const auto result = run.get();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("goes on from"));
  expect_as_own("run");
}

/// Two network namespaces stand for two machines.
class TwoHosts : public Launch {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "network namespaces can be made as root only";
    for (const auto* program : {"ip", "tc"}) {
      if (!is_on_path(program)) GTEST_SKIP() << program << " is missing (iproute2)";
    }
    Launch::SetUp();
    const auto made = testing::run_command(fmt::format(
        "ip netns add {0}a && ip netns add {0}b && "
        "ip link add e0 netns {0}a type veth peer name e0 netns {0}b && "
        "ip -n {0}a addr add 10.77.0.1/24 dev e0 && ip -n {0}b addr add 10.77.0.2/24 dev e0 && "
        "ip -n {0}a link set e0 up && ip -n {0}b link set e0 up && "
        "ip -n {0}a link set lo up && ip -n {0}b link set lo up && "
        "for host in a b; do ip netns exec {0}$host tc qdisc add dev e0 root tbf rate 50mbit "
        "burst 64kb latency 50ms || exit 1; done",
        name_));
    if (made.exit_code != 0) GTEST_SKIP() << "no network namespaces here: " << made.err;
  }
  void TearDown() override {
    testing::run_command(fmt::format("ip netns del {0}a; ip netns del {0}b", name_));
  }
  std::string on(const std::string& host, const std::string& command) const {
    return fmt::format("ip netns exec {}{} {}", name_, host, command);
  }
  std::string name_ = fmt::format("evomoe{}", getpid());
};

TEST_F(TwoHosts, TrainOverALimitedLink) {
  const auto meet = ranks(2) + tcp(29500, "10.77.0.1");
  both(on("a", "$E " + arguments("run") + meet + "--distributed-rank 0"),
       on("b", "$E " + arguments("run") + meet + "--distributed-rank 1"));
  expect_as_own("run");
}

TEST_F(TwoHosts, StartTheirRanksAgainTogether) {
  const auto longer =
      "--max-update 100 --log-interval 1 --save-interval-updates 5 "
      "--no-epoch-checkpoints --disable-validation ";
  shell("$E " + arguments("own") + ranks(2) + longer);
  // A launcher on each host, for the one rank of it.
  const auto command = [&](const std::string& host, int rank) {
    return fmt::format("ip netns exec {}{} {} {} {} --distributed-rank {} --max-restarts 3", name_,
                       host, testing::program().string(), arguments("run") + longer,
                       ranks(2) + tcp(29501, "10.77.0.1"), rank);
  };
  auto other =
      std::async(std::launch::async, [&] { return testing::run_command(command("b", 1)); });
  auto first = start(command("a", 0), "run");
  const auto of_first = children_of(process());
  ASSERT_EQ(of_first.size(), 1U);
  kill(of_first.front(), SIGKILL);
  const auto result = first.get(), of_other = other.get();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(of_other.exit_code, 0) << of_other.err;
  EXPECT_THAT(result.err, HasSubstr("restart 1 of 3"));
  EXPECT_THAT(of_other.err, HasSubstr("restart 1 of 3"));
  expect_as_own("run");
}

TEST_F(Launch, OwnRanksAreStartedAgainFromTheLastCheckpoint) {
  const auto longer =
      "--max-update 150 --log-interval 1 --save-interval-updates 5 "
      "--no-epoch-checkpoints --disable-validation ";
  shell("$E " + arguments("own") + ranks(2) + longer);
  auto run = start(
      testing::program().string() + " " + arguments("run") + ranks(2) + longer + "--max-restarts 2",
      "run");
  kill(children_of(process()).back(), SIGKILL);
  const auto result = run.get();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("starts all again from the last checkpoint (restart 1 of 2)"));
  EXPECT_THAT(result.err, Not(HasSubstr("restart 2 of 2")));
  expect_as_own("run");
}

TEST_F(Launch, ErrorsThatWouldComeAgainAreNotTriedAgain) {
  const auto again = ranks(2) + "--max-restarts 3 ";
  const auto diverged = shell("$E " + arguments("nan") + again + "--lr 1e30", 1);
  EXPECT_THAT(diverged.err, HasSubstr("is not finite"));
  EXPECT_THAT(diverged.err, Not(HasSubstr("starts all again")));
  EXPECT_THAT(diverged.err, Not(HasSubstr("did not answer")));
  const auto refused = shell("$E " + arguments("run") + again + "--valid-subset other", 1);
  EXPECT_THAT(refused.err, Not(HasSubstr("starts all again")));
}

TEST_F(Launch, AFullDiskOfOneRankIsTheReasonOfAll) {
  if (geteuid() != 0) GTEST_SKIP() << "a small file system can be mounted as root only";
  fs::create_directories(folder_ / "small");
  const auto command = arguments("small/run") +
                       "--decoder-embed-dim 64 --save-interval-updates 4 " + ranks(2) +
                       "--max-restarts 3";
  const auto result = testing::run_command(
      fmt::format("unshare -m sh -c 'mount -t tmpfs -o size=150k tmpfs {} || exit 77; {} {}'",
                  (folder_ / "small").string(), testing::program().string(), command));
  if (result.exit_code == 77) GTEST_SKIP() << "no tmpfs here: " << result.err;
  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_THAT(result.err, HasSubstr("evomoe: cannot write to"));
  EXPECT_THAT(result.err, HasSubstr("failed, as rank 0 ended: cannot write to"));
  EXPECT_THAT(result.err, Not(HasSubstr("starts all again")));
  EXPECT_THAT(result.err, Not(HasSubstr("did not answer")));
}

TEST_F(Launch, TooLittleMemoryOfOneRankIsTheReasonOfAll) {
  // The model and its optimiser need 250 MB and a batch twice as much, which rank 1 may not have.
  const auto large = arguments("run") + ranks(2) + tcp(free_port()) +
                     "--decoder-ffn-embed-dim 60000 --tokens-per-sample 128 --batch-size 8 "
                     "--decoder-embed-dim 64 --disable-validation --max-update 2 ";
  const auto result =
      shell(fmt::format("limit() {{ prlimit --data=300000000 \"$@\"; }}\n"
                        "limit $E {0} --distributed-rank 1 & other=$!\n"
                        "$E {0} --distributed-rank 0\ncode=$?\nwait $other; exit $code",
                        large),
            kLostRanksExit);
  EXPECT_THAT(result.err, HasSubstr("evomoe: out of memory"));
  EXPECT_THAT(result.err, HasSubstr("rank 0 of 2"));
  EXPECT_THAT(result.err, HasSubstr("as rank 1 ended: out of memory"));
}

TEST_F(Launch, EveryRankWritesItsLogWhenAsked) {
  shell("$E " + arguments("run") + ranks(3) + "--log-all-ranks --max-update 4");
  shell("$E " + arguments("run") + ranks(3) + "--log-all-ranks");
  const auto of_first = read_run_log(folder_ / "run/log.jsonl");
  for (const auto* name : {"log.rank-1.jsonl", "log.rank-2.jsonl"}) {
    const auto lines = read_run_log(folder_ / "run" / name);
    ASSERT_EQ(lines.size(), of_first.size());
    for (size_t i = 0; i < lines.size(); ++i) {
      EXPECT_EQ(lines[i].at("tag"), of_first[i].at("tag"));
      EXPECT_EQ(lines[i].at("completed_updates"), of_first[i].at("completed_updates"));
      EXPECT_EQ(lines[i].value("loss", 0.0), of_first[i].value("loss", 0.0));
    }
  }
  EXPECT_FALSE(fs::exists(folder_ / "run/log.rank-0.jsonl"));
  shell("$E " + arguments("few") + ranks(2));
  EXPECT_FALSE(fs::exists(folder_ / "few/log.rank-1.jsonl"));
}

class BadLaunch : public Launch {};

TEST_F(BadLaunch, AnAddressThatNobodyServes) {
  const auto result = shell("$E " + arguments("run") + ranks(2) + tcp(free_port()) +
                                "--distributed-rank 1 --distributed-timeout 1",
                            kLostRanksExit);
  EXPECT_THAT(result.err, HasSubstr("Is rank 0 running, and the address right?"));
  const auto unknown =
      shell("$E " + arguments("run") + ranks(2) + tcp(29500, "no-such-host.invalid") +
                "--distributed-rank 1 --distributed-timeout 1",
            kLostRanksExit);
  EXPECT_THAT(unknown.err, HasSubstr("no-such-host.invalid"));
}

TEST_F(BadLaunch, APortThatIsInUse) {
  const Listener other;
  const auto command = "$E " + arguments("run") + ranks(2) + tcp(other.port()) +
                       "--distributed-timeout 1 --distributed-rank ";
  EXPECT_THAT(shell(command + "0", 1).err, HasSubstr("Is the port free"));
  EXPECT_THAT(shell(command + "1", kLostRanksExit).err, HasSubstr("rank 1 of 2 cannot meet"));
}

TEST_F(BadLaunch, ARankThatDoesNotCome) {
  const auto result = shell("$E " + arguments("run") + ranks(3) + file("meet") +
                                "--distributed-rank 0 --distributed-timeout 1",
                            kLostRanksExit);
  EXPECT_THAT(result.err, HasSubstr("rank 1 did not come"));
}

TEST_F(BadLaunch, MoreRanksThanSequences) {
  const auto result = shell("$E " + arguments("run") + "--batch-size 120 " + ranks(30), 1);
  EXPECT_THAT(result.err, HasSubstr("fewer than the 30 ranks"));
}

TEST_F(BadLaunch, RanksThatSeeDifferentFolders) {
  fs::create_directories(folder_ / "here");
  fs::create_directories(folder_ / "there");
  auto command = arguments("run") + ranks(2) + file("meet");
  const auto absolute = (folder_ / "run").string();
  command.replace(command.find(absolute), absolute.size(), "run");
  const auto result = both(
      fmt::format("cd {}; $E {} --distributed-rank 0", (folder_ / "here").string(), command),
      fmt::format("cd {}; $E {} --distributed-rank 1", (folder_ / "there").string(), command), 1);
  EXPECT_THAT(result.err, HasSubstr("--save-dir run: ranks 1 do not see the folder of rank 0"));
  EXPECT_THAT(result.err, HasSubstr((folder_ / "there/run").string()));
  for (const auto& entry : fs::directory_iterator(folder_ / "here/run"))
    EXPECT_THAT(entry.path().filename().string(), Not(HasSubstr(".ranks-"))) << "is left behind";
}

TEST_F(BadLaunch, ARankNumberTwice) {
  const auto command = "$E " + arguments("run") + ranks(3) + file("meet") +
                       "--distributed-timeout 3 --distributed-rank 1";
  const auto result = testing::run_command(
      fmt::format("E={}\n{} & {}\nwait", testing::program().string(), command, command));
  EXPECT_THAT(result.err, HasSubstr("two processes are rank 1"));
}

TEST_F(BadLaunch, ARankThatComesWhenAllAreThere) {
  const auto meet = ranks(2) + tcp(free_port());
  auto run =
      start(fmt::format("sh -c \"{0} {1} --distributed-rank 1 & {0} {1} --distributed-rank 0; "
                        "wait\"",
                        testing::program().string(),
                        arguments("run") + meet + "--max-update 100000 --log-interval 1"),
            "run");
  const auto late = shell("$E " + arguments("run") + meet +
                              "--max-update 100000 --log-interval 1 --distributed-rank 1 "
                              "--distributed-timeout 1",
                          1);
  EXPECT_THAT(late.err, HasSubstr("are complete; is another process rank 1 too?"));
  for (const int rank : children_of(process())) kill(rank, SIGTERM);
  run.get();
}

TEST_F(BadLaunch, ARankBeyondTheSize) {
  const auto result =
      shell("$E " + arguments("run") + ranks(2) + file("meet") + "--distributed-rank 2", 2);
  EXPECT_THAT(result.err, HasSubstr("rank 2 is not one of 2"));
}

TEST_F(BadLaunch, OtherOptionsAndOtherDataAreNamedByAll) {
  const auto meet = ranks(2) + tcp(free_port());
  const auto command = "$E " + arguments("run") + meet;
  const auto options =
      both(command + "--distributed-rank 0", command + "--distributed-rank 1 --dropout 0.3", 1);
  EXPECT_THAT(options.err, HasSubstr("--dropout is '0.3', and '"));
  for (const auto* waited : {"did not come", "did not answer"})
    EXPECT_THAT(options.err, Not(HasSubstr(waited)));

  // The same path, and other text behind it.
  fs::create_directories(folder_ / "here");
  fs::create_directories(folder_ / "there");
  fs::copy(folder_ / "bin", folder_ / "here/bin", fs::copy_options::recursive);
  fs::copy(folder_ / "bin", folder_ / "there/bin", fs::copy_options::recursive);
  for (const auto* end : {"bin", "idx"})
    fs::copy_file(folder_ / fmt::format("bin/valid.{}", end),
                  folder_ / fmt::format("there/bin/train.{}", end),
                  fs::copy_options::overwrite_existing);
  auto relative = arguments("run") + ranks(2) + file("meet");
  const auto absolute = (folder_ / "bin").string();
  relative.replace(relative.find(absolute), absolute.size(), "bin");
  const auto data = both(
      fmt::format("cd {}; $E {} --distributed-rank 0", (folder_ / "here").string(), relative),
      fmt::format("cd {}; $E {} --distributed-rank 1", (folder_ / "there").string(), relative), 1);
  EXPECT_THAT(data.err, HasSubstr("the training data is '30 items"));
  EXPECT_THAT(data.err, Not(HasSubstr("did not answer")));
}

}  // namespace
}  // namespace evomoe
